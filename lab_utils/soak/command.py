"""The command line: number of faults, seed, number of ranks."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lab_utils.bench.table import machine
from lab_utils.host.command_line import INTERRUPTED, at_least, say
from lab_utils.ranks import RanksError
from lab_utils.soak.endure import CountedRanks, Soak
from lab_utils.soak.faults import KINDS, PROGRAMS, Fault, draw_faults
from lab_utils.soak.interrupts import Interrupts
from lab_utils.soak.tally import Tally


def main(argv: Sequence[str] = ()) -> int:
    """Return 0 if every fault was named, ranks recovered and nothing is left; 1 else; 2 bad usage; 130 interrupted."""
    parser = _parser()
    given = parser.parse_args(list(argv))
    if sys.platform != "linux":
        parser.error("the soak stops processes and limits their memory as only Linux does: run it there")
    faults = draw_faults(given.seed, max(given.faults, given.only or 0), given.ranks)
    faults = faults[given.only - 1 : given.only] if given.only else faults
    say(f"{len(faults)} faults on {', '.join(f'{name} {value}' for name, value in machine().items())}")
    tally = Tally(given.seed, given.ranks)
    began_s = time.perf_counter()
    with _own_temporary_folder() as folder:
        interrupted = _soak(tally, faults)
        tally.files = sorted(os.listdir(folder))
    print(*tally.troubles(), tally.table(), sep="\n\n")
    print(f"\n{tally.summary()}, in {time.perf_counter() - began_s:.0f} s")
    return INTERRUPTED if interrupted else int(not tally.clean)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab_utils soak",
        description="Random faults at random moments of programs on ranks: is each one named, and do the ranks go on?",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"kinds: {', '.join(KINDS)}\nprograms: {', '.join(PROGRAMS)}\n"
        "on one core: taskset -c 0 python -m lab_utils soak ...",
    )
    parser.add_argument("--faults", type=at_least(1), metavar="N", default=64, help="so many (64)")
    parser.add_argument("--seed", type=int, metavar="S", default=0, help="the same seed makes the same faults (0)")
    parser.add_argument("--ranks", type=at_least(2), metavar="N", default=4, help="on so many ranks, 2 or more (4)")
    parser.add_argument("--only", type=at_least(1), metavar="I", help="this one fault of the seed")
    return parser


@contextmanager
def _own_temporary_folder() -> Iterator[str]:
    """Put all temporary files, the ranks' too, into a private folder, and yield it."""
    before = os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(prefix="lab-soak-") as folder:
        os.environ["TMPDIR"], tempfile.tempdir = folder, None  # None: gettempdir() reads TMPDIR again
        try:
            yield folder
        finally:
            tempfile.tempdir = None
            del os.environ["TMPDIR"]
            os.environ |= {} if before is None else {"TMPDIR": before}


def _soak(tally: Tally, faults: Sequence[Fault]) -> bool:
    """Fill the tally; return True when the user interrupted. Leftover processes are counted either way."""
    with Interrupts() as interrupts:
        ranks = soak = None
        try:
            ranks = CountedRanks(tally.ranks)
            soak = Soak(ranks, interrupts)
            for place, fault in enumerate(faults, start=1):
                tally.results.append(soak.endure(fault))
                say(f"[{place}/{len(faults)}] {tally.results[-1].line()}")
        except KeyboardInterrupt:
            say("Interrupted: the table has what came before.")
        except RanksError as error:  # outside any fault: these ranks are unusable
            tally.ended_by = f"{type(error).__name__}: {error}"
        finally:
            if ranks is not None:
                ranks.stop()
                tally.restarts = ranks.restarts
            tally.left = soak.living() if soak is not None else 0
        return interrupts.by_user
