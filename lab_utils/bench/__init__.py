"""`python -m lab_utils bench`: the lab's overhead against the libraries that it uses, measured in one run."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] = ()) -> int:
    """Measure, print one table, and return the exit status.

    Imports lazily: ranks import this package for the functions that they run, and need nothing else of it.
    """
    from lab_utils.bench.command import main

    return main(argv)
