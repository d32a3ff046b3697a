"""What the commands share: lines of progress, which leave standard output to the result, and numbers as options."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

INTERRUPTED = 130


def say(line: str) -> None:
    """Print a line of progress to standard error."""
    print(line, file=sys.stderr, flush=True)


def at_least(least: int) -> Callable[[str], int]:
    """Return argparse's type of whole numbers from `least` up."""

    def number(text: str) -> int:
        if not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number from {least} up")
        return int(text)

    return number
