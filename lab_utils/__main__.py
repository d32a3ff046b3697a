"""`python -m lab_utils COMMAND`: the lab's commands, loaded on use."""

from __future__ import annotations

import argparse
import codecs
import importlib
import sys

PLAIN = str.maketrans({"✓": "+", "✗": "x", "–": "-", "→": "->", "×": "x", "µ": "u", "≤": "<="})

# command: (module with main(argv) -> exit status, what it does)
COMMANDS = {
    "lab": (
        "lab_utils.host.launch",
        "open JupyterLab on your copy of the first chapter; further arguments go on to JupyterLab",
    ),
    "work": (
        "lab_utils.host.work",
        "copy new chapters to work/, and say what changed in labs/ since",
    ),
    "doctor": ("lab_utils.host.doctor", "say what is present, what is missing, and the mend"),
    "bench": ("lab_utils.bench.command", "measure the lab beside plain torch and stock ipyparallel"),
    "record": ("lab_utils.record.command", "record any torch.distributed program, and write its trace"),
    "soak": ("lab_utils.soak.command", "make random faults on ranks, and see whether each is named and got over"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command with the arguments that follow it; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m lab_utils",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"{name:8} {text}" for name, (_, text) in COMMANDS.items()),
    )
    parser.add_argument("command", choices=COMMANDS, help="what follows it goes on to the command")
    words = sys.argv[1:] if argv is None else argv
    module, _ = COMMANDS[parser.parse_args(words[:1]).command]
    return importlib.import_module(module).main(words[1:])  # unparsed: argparse would remove the first "--"


def speak_plainly() -> None:
    """Replace characters that the terminal's encoding lacks, instead of failing."""
    codecs.register_error("plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end].translate(PLAIN)
    return lacking.encode("ascii", "backslashreplace").decode(), error.end


if __name__ == "__main__":
    speak_plainly()
    sys.exit(main())
