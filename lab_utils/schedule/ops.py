"""Ops of a pipeline schedule, and their text form: "F0 F1 BW0 BW1", or with the stage in front, "2F0"."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

# Forward; backward for the input; backward for the weights; both backwards in one op.
KINDS = ("F", "B", "W", "BW")
F, B, W, BW = range(len(KINDS))
LOCAL, BETWEEN_RANKS = 0, 1  # edge classes: no communication within a rank
Step = tuple[int, int, int]  # kind, stage, micro-batch

OP = re.compile(r"(\d*)(BW|F|B|W)(\d+)")
NUMBERS = {"F": F, "B": B, "W": W, "BW": BW}
MOST = 2**31 - 1


class Unreadable(ValueError):
    """A word that is not an op."""


def told(step: Step) -> str:
    kind, stage, microbatch = step
    return f"{KINDS[kind]}{microbatch} of stage {stage}"


def read(orders: Sequence[str | Sequence[str]]) -> list[list[Step]]:
    """Parse the steps of each rank. Unreadable, a ValueError, names the word, its place and the syntax of an op."""
    if isinstance(orders, str):
        orders = [line for line in orders.splitlines() if line.strip()]
    return [
        [_step(word, rank, place) for place, word in enumerate(_words(order), start=1)]
        for rank, order in enumerate(orders)
    ]


def spelled(
    first: np.ndarray, rank: np.ndarray, kind: np.ndarray, stage: np.ndarray, microbatch: np.ndarray
) -> tuple[str, ...]:
    """Format each rank's order as text; stages are left out if every rank r holds only stage r.

    first is int64[ranks + 1], the others have one entry per op: see `Draft`.
    """
    own = bool((stage == rank).all())
    words = [
        f"{'' if own else s}{KINDS[k]}{m}"
        for k, s, m in zip(kind.tolist(), stage.tolist(), microbatch.tolist(), strict=True)
    ]
    return tuple(" ".join(words[a:b]) for a, b in zip(first[:-1], first[1:], strict=True))


def _words(order: str | Sequence[str]) -> Sequence[str]:
    return order.replace(",", " ").split() if isinstance(order, str) else order


def _step(given: object, rank: int, place: int) -> Step:
    word = str(given)
    found = OP.fullmatch(word)
    if found is None:
        torch = " (I is torch's word for B)" if re.fullmatch(r"\d*I\d+", word) else ""
        raise Unreadable(
            f"rank {rank}, op {place}: {word!r} is no op: write F0, B0, W0 or BW0, or 2F0 with a stage{torch}"
        )
    stage, kind, microbatch = found.groups()
    numbers = int(stage or rank), int(microbatch)
    if max(numbers) >= MOST:
        raise Unreadable(f"rank {rank}, op {place}: {word!r} has a number of {MOST} or more")
    return NUMBERS[kind], *numbers
