"""The command line of the benchmarks: choose figures, measure, print and save."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from lab_utils.bench.figures import FIGURES, Figure, Result
from lab_utils.bench.table import as_json, machine, spread, table
from lab_utils.text import three_digits

# Figures are measured and shown in this order.
MODULES = ("ranks", "record", "simulate", "predicted", "strategies", "tensor", "pipeline", "chapters")
INTERRUPTED = 130

for _module in MODULES:  # importing one registers its figures
    importlib.import_module(f"lab_utils.bench.figures_of.{_module}")


def main(argv: Sequence[str] = ()) -> int:
    """Run the command. Exit status 0: all measured, met or not; 1: a figure failed; 2: usage; 130: interrupted."""
    parser = _parser()
    given = parser.parse_args(list(argv))
    try:
        figures = chosen(given.only)
        if given.json:
            given.json.open("a", encoding="utf-8").close()  # fail before minutes of measuring, not after
    except (LookupError, OSError) as error:
        parser.error(str(error))
    on = machine()
    _say(f"{len(figures)} figures on {', '.join(f'{name} {value}' for name, value in on.items())}")
    if on["load"] > on["cores"] / 2:
        _say(f"This machine is busy (load {on['load']} on {on['cores']} cores): the numbers will be noisy.")
    results = [Result(figure) for figure in figures]
    interrupted = _measure_all(results, given.repeat)
    print(table(results))
    if given.json:
        given.json.write_text(json.dumps(as_json(results, on), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if interrupted:
        return INTERRUPTED
    return int(any(result.error for result in results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab_utils bench",
        description="Measure the lab beside plain torch and stock ipyparallel, in one run.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="figures:\n" + "\n".join(f"  {each.name:16} {each.description}" for each in FIGURES.values()),
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these figures, or families such as record")
    parser.add_argument("--repeat", type=_positive, metavar="N", help="measure each N times (3; chapters once)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there too")
    return parser


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 up")
    return int(text)


def chosen(names: Sequence[str] | None) -> list[Figure]:
    """Return the figures of these names and families ("record": all of "record-…"), in the table's order.

    LookupError, one sentence, for an unknown name.
    """
    if names is None:
        return list(FIGURES.values())
    wanted: set[str] = set()
    for name in names:
        found = {name} & FIGURES.keys() or {each for each in FIGURES if each.startswith(f"{name}-")}
        if not found:
            raise LookupError(f"no figure is named {name}: there are {', '.join(FIGURES)}")
        wanted |= found
    return [each for name, each in FIGURES.items() if name in wanted]


def _measure_all(results: list[Result], rounds: int | None) -> bool:
    """Measure all figures into `results`. Return whether it was interrupted."""
    for place, result in enumerate(results, start=1):
        try:
            _say(f"[{place}/{len(results)}] {result.figure.name}: {result.figure.description}")
            _measure(result, rounds or result.figure.rounds)
        except KeyboardInterrupt:
            _say("Interrupted: the table has what was measured until now.")
            return True
        except Exception as error:  # a figure that fails does not stop the others
            result.error = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            _say(f"      failed: {result.error}")
    return False


def _measure(result: Result, rounds: int) -> None:
    unit = result.figure.unit
    for done in range(1, rounds + 1):
        began_s, before = time.perf_counter(), len(result.samples)
        with closing(result.figure.round()) as samples:  # an interrupt stops what the round started
            for sample in samples:
                result.samples.append(sample)
        one = f"{three_digits(result.samples[-1].measured)} {unit}"
        so_far = one if len(result.samples) - before == 1 else spread(result.measured, unit)
        _say(f"      {done} of {rounds}: {so_far}, took {time.perf_counter() - began_s:.0f} s")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
