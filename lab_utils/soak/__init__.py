"""`python -m lab_utils soak`: random faults at random moments; checks that errors name them and ranks recover."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] = ()) -> int:
    """Make the faults, print one table, and return the exit status.

    Loaded on use: ranks import this package for its programs, and do not need the command.
    """
    from lab_utils.soak.command import main

    return main(argv)
