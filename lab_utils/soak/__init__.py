"""`python -m lab_utils soak`: random faults at random moments, and whether each is named and got over."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] = ()) -> int:
    """Make the faults, print one table, and return the exit status.

    Loaded on use: ranks import this package for the programs they run, and need none of the rest.
    """
    from lab_utils.soak.command import main

    return main(argv)
