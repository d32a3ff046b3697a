"""`python -m lab_utils record -- PROGRAM`: record a program that does not use the lab, and write its Trace."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] = ()) -> int:
    """Run the program, write the trace, and return the program's exit status.

    Loaded on use: ranks of the program import this package too, and do not need the command.
    """
    from lab_utils.record.command import main

    return main(argv)
