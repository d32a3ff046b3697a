"""`python -m lab_utils bench`: what the lab costs, beside what it stands on, measured in one run."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] = ()) -> int:
    """Measure, print one table, and return the exit status.

    Loaded on use: ranks import this package for the functions they run, and need none of the rest.
    """
    from lab_utils.bench.command import main

    return main(argv)
