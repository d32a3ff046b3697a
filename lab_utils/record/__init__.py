"""`python -m lab_utils record -- PROGRAM`: record a program that knows nothing of the lab, and write its Trace."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] = ()) -> int:
    """Run the program, write the trace, and return the program's exit status.

    Loaded on use: ranks of the program import this package for what they leave, and need none of the rest.
    """
    from lab_utils.record.command import main

    return main(argv)
