"""torch's own DistributedTest, run plain and recorded: what passes must pass, what torch skips must be skipped.

python tests/torch_suite/torch_suite.py [--count] [NAME ...]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

PROGRAM = Path(__file__).with_name("torch_suite_program.py")
LEAST = 90  # tests of the suite that run on gloo; fewer, and torch has changed how it chooses them
RANKS = 4
LAST_LINES = 40

Results = dict[str, dict]  # what torch_suite_program.py writes: {test: {became, why, seconds, groups}}


def complaints(plain: Results, recorded: Results) -> Iterator[str]:
    """One sentence for each test that differs, or that did not run as it should have."""
    for name in sorted(plain.keys() | recorded.keys()):
        nothing = {"became": "missing", "why": "", "groups": []}
        alone, watched = plain.get(name, nothing), recorded.get(name, nothing)
        if alone["became"] == "failed":  # torch's own affair, whatever it does recorded
            yield f"{name} failed plain, so it says nothing: {_reason(alone)}"
        elif (alone["became"], alone["why"]) != (watched["became"], watched["why"]):
            yield f"{name} {alone['became']} plain and {watched['became']} recorded: {_reason(watched)}"
        elif alone["became"] == "passed" and (alone["groups"], watched["groups"]) != (_all("plain"), _all("recorded")):
            yield f"{name} had groups {alone['groups']} plain and {watched['groups']} recorded, by rank"


def _all(kind: str) -> list[list[str]]:
    return [[kind]] * RANKS


def _reason(result: dict) -> str:
    """Why it was skipped; or each error that its ranks raised, once: some only say that another rank is gone."""
    errors = dict.fromkeys(re.findall(r"^[\w.]*(?:Error|Exception)\b(?!: Process \d).*", result["why"], re.MULTILINE))
    return " / ".join(errors) or result["why"].strip().rpartition("\n")[2] or "no reason given"


def in_one_line(plain: Results, recorded: Results, plain_s: float, recorded_s: float) -> str:
    passed, skipped = (_number(became, plain, recorded) for became in ("passed", "skipped"))
    return (
        f"DistributedTest of torch {version('torch')} on gloo, {RANKS} ranks: {passed} tests pass plain and recorded, "
        f"{skipped} skipped in both; {plain_s:.0f} s plain, {recorded_s:.0f} s recorded "
        f"({recorded_s / plain_s:.2f} times)."
    )


def _number(became: str, *runs: Results) -> int:
    """Tests of which the same became in all runs."""
    return sum(all(name in run and run[name]["became"] == became for run in runs) for name in runs[0])


def run(before: Sequence[str], names: Sequence[str], folder: Path) -> tuple[Results, float]:
    """Run the program behind `before`, with its temporary files in the folder; its results, and how long it took."""
    out, log = folder / "results.json", folder / "log.txt"
    line = [*before, sys.executable, str(PROGRAM), str(out), str(RANKS), *names]
    began_s = time.perf_counter()
    with log.open("wb") as printed:
        status = subprocess.call(line, env={**os.environ, "TMPDIR": str(folder)}, stdout=printed, stderr=printed)
    took_s = time.perf_counter() - began_s
    if status:
        last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        raise SystemExit("\n".join([*last, f"{' '.join(line)} ended with status {status}."]))
    return json.loads(out.read_text(encoding="utf-8")), took_s


def main(argv: Sequence[str]) -> int:
    """0: no test differs, and as many ran as should have."""
    parser = argparse.ArgumentParser(prog="torch_suite.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--count", action="store_true", help="count kernels while recording")
    parser.add_argument("names", nargs="*", metavar="NAME", help="these tests only")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as alone, tempfile.TemporaryDirectory() as watched:
        count = "--count" if given.count else "--no-count"
        trace = str(Path(watched, "trace.json"))
        record = [sys.executable, "-m", "lab_utils", "record", count, "--out", trace, "--"]
        plain, plain_s = run([], given.names, Path(alone))
        recorded, recorded_s = run(record, given.names, Path(watched))
    wrong = list(complaints(plain, recorded))
    if (ran := _number("passed", plain, recorded)) < LEAST and not given.names:
        wrong.append(f"{ran} tests ran, at least {LEAST} should have")
    print("\n".join([*wrong, in_one_line(plain, recorded, plain_s, recorded_s)]))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
