"""Runs `lab_utils record` as a user does, with files in a folder of the test's own, and sees that nothing is left."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from lab_utils.timeline import Op, Trace

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RUN = (sys.executable, "-m", "torch.distributed.run")
ENDING = str(HERE / "ending_program.py")


# What is left of a program is ended at once: for five seconds it might have ended by itself.
NO_GRACE = (
    "import sys; from lab_utils.record import command; command._GRACE_S = 0; sys.exit(command.main(sys.argv[1:]))"
)


@dataclass
class Recorder:
    """Runs the command with files and private folders in a folder of the test's own."""

    folder: Path
    command: Sequence[str] = ("-m", "lab_utils", "record")

    @property
    def out(self) -> Path:
        return self.folder / "trace.json"

    def start(self, *program: str, options: Sequence[str] = (), **environ: str) -> subprocess.Popen[str]:
        line = [sys.executable, *self.command, "--out", str(self.out), *options, "--", *program]
        (self.folder / "tmp").mkdir(exist_ok=True)
        env = {**os.environ, "TMPDIR": str(self.folder / "tmp"), "OMP_NUM_THREADS": "1", **environ}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(line, cwd=ROOT, env=env, encoding="utf-8", **pipes)

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str, str]:
        """Exit status, what the program printed, what it and the command said; nothing is left of either."""
        printed, said = process.communicate()
        assert list((self.folder / "tmp").glob("lab_record_*")) == []
        ours = [p for p in psutil.process_iter(["environ"]) if str(self.folder) in str(p.info["environ"])]
        assert ours == []
        return process.returncode, printed, said

    def run(self, *program: str, options: Sequence[str] = (), **environ: str) -> tuple[int, str, str]:
        return self.end(self.start(*program, options=options, **environ))

    def ending(self, how: str, option: str = "--no-count") -> tuple[int, str, str]:
        return self.run(sys.executable, ENDING, str(self.folder), how, options=[option])

    def trace(self) -> Trace:
        return Trace.load(self.out)


def _program(name: str) -> Path:
    return next((ROOT / "tests").rglob(name))


def torchrun(ranks: int, name: str, *arguments: str, command: Sequence[str] = RUN) -> list[str]:
    return [*command, "--standalone", "--nproc-per-node", str(ranks), str(_program(name)), *arguments]


def started(how: str, folder: Path) -> str:
    """Code that runs the ending program in its own process."""
    return f"import runpy; sys.argv = ['', {str(folder)!r}, {how!r}]; runpy.run_path({ENDING!r}, run_name='__main__')"


def named(trace: Trace, rank: int, name: str) -> list[Op]:
    return [op for op in trace.ops[rank] if op.name == name and op.kind != "wait"]
