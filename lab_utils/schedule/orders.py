"""Orders in words: "F0 F1 BW0 BW1", or with the stage before it, "2F0"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lab_utils.schedule.draft import BW, KINDS, B, Draft, F, Step, W

OP = re.compile(r"(\d*)(BW|F|B|W)(\d+)")
NUMBERS = {"F": F, "B": B, "W": W, "BW": BW}
MOST = 2**31 - 1


class Unreadable(ValueError):
    """A word that is no op."""


def read(orders: Sequence[str | Sequence[str]]) -> list[list[Step]]:
    """Steps of each rank. Unreadable, a ValueError, names the word, its place and how an op is written."""
    if isinstance(orders, str):
        orders = [line for line in orders.splitlines() if line.strip()]
    return [
        [_step(word, rank, place) for place, word in enumerate(_words(order), start=1)]
        for rank, order in enumerate(orders)
    ]


def why_not(
    orders: Sequence[str | Sequence[str]],
    stages: int | None = None,
    microbatches: int | None = None,
    limit: float | Sequence[float] | None = None,
    copies: int = 1,
) -> str:
    """What is wrong with orders in words, in one sentence; "" when every rank runs its own to the end.

    Takes what `Schedule.of` takes; `limit`: how many micro-batches of a full stage a rank may hold, for all or each.
    """
    try:
        return Draft.of("order", orders, stages, microbatches, copies).why_not(limit)
    except Unreadable as wrong:
        return str(wrong)


def spelled(draft: Draft) -> tuple[str, ...]:
    """Each rank's order in words; the stage is left out where every rank has the stage of its own number."""
    own = bool((draft.stage == draft.rank).all())
    words = [
        f"{'' if own else stage}{KINDS[kind]}{microbatch}"
        for kind, stage, microbatch in zip(
            draft.kind.tolist(), draft.stage.tolist(), draft.microbatch.tolist(), strict=True
        )
    ]
    return tuple(" ".join(words[a:b]) for a, b in zip(draft.first[:-1], draft.first[1:], strict=True))


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
