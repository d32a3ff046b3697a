"""An order that cannot run: what its ranks run before they are stuck, and the op at which each of them stands."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from lab_utils.schedule import Draft, why_not_next
from lab_utils.schedule.by_hand import SAME, needed
from lab_utils.schedule.ops import KINDS, Step
from lab_utils.schedule.pauses import Gap, amount
from lab_utils.widgets.schedule_explorer import sentences, words
from lab_utils.widgets.schedule_explorer.choice import CannotRun, Setting
from lab_utils.widgets.schedule_explorer.picture_data import Drawn


class Stand(NamedTuple):
    """Where a rank stands: since when, at which op, as text, and why it cannot run it."""

    rank: int
    since: float
    word: str
    why: str


class Stuck(Drawn):
    """What ran of an order that cannot run, placed in time; `order` is all of it."""

    def __init__(self, wrong: CannotRun, setting: Setting) -> None:
        order = wrong.draft
        at, ran = run_as_far_as_possible(order)
        super().__init__(ran, setting.costs, setting.limit)
        self.order, self.whole, steps = order, False, order.steps
        self.extent = self.makespan + float(self.costs.table(order.stages).max(initial=0.0)) or 1.0
        self.stands = [self._stand(rank, steps[rank][n]) for rank, n in at.items()]
        self.remark = (words.STUCK if at else words.LACKING).format(ran=len(ran), ops=len(order))
        self.notes = [self.remark, str(wrong), *(stand.why for stand in self.stands)]

    def _stand(self, rank: int, step: Step) -> Stand:
        kind, stage, microbatch = step
        a, b = self.draft.first[rank : rank + 2].tolist()
        since = float(self.end[b - 1]) if b > a else 0.0
        word = f"{stage if self.named else ''}{KINDS[kind]}{microbatch}"
        return Stand(rank, since, word, sentences.stands(rank, step, why_not_next(self.draft, rank, step)))

    @property
    def gaps(self) -> list[Gap]:
        """Every pause between ops; then for how long a rank stands, or that it is done."""
        between = [gap for gap in super().gaps if gap.needs >= 0]
        standing = {stand.rank: Gap(stand.rank, stand.since, self.extent, stand.why) for stand in self.stands}
        ends = self.draft.first[1:].tolist()
        done = [
            Gap(rank, float(self.end[end - 1]), self.extent, words.RAN_ALL.format(rank=rank))
            for rank, end in enumerate(ends)
            if rank not in standing and end > self.draft.first[rank]
        ]
        return sorted([*between, *standing.values(), *done])

    @property
    def facts(self) -> list[list[str]]:
        (makespan, *_, what), *rates, held = super().facts
        return [
            [makespan, words.STUCK_AT.format(time=amount(self.makespan)), what],
            *([name, words.NEVER, meaning] for name, _, meaning in rates),
            held,
        ]

    def about(self) -> dict[str, object]:
        return super().about() | {"extent": self.extent, "stands": [list(stand[:3]) for stand in self.stands]}


def run_as_far_as_possible(order: Draft) -> tuple[dict[int, int], Draft]:
    """Run the ranks side by side until none can go on.

    Returns {rank: how many ops it ran} of those that stand before their end, and what ran.
    """
    steps, state = order.steps, _State(order)
    at, goes_on = [0] * order.ranks, True
    while goes_on:
        goes_on = False
        for rank, mine in enumerate(steps):
            while at[rank] < len(mine) and state.ran(rank, mine[at[rank]]):
                at[rank] += 1
                goes_on = True
    ran = [mine[:n] for mine, n in zip(steps, at, strict=True)]
    stands = {rank: n for rank, n in enumerate(at) if n < len(steps[rank])}
    return stands, Draft.of_steps(order.name, ran, order.stages, order.microbatches, order.copies)


class _State:
    """What has run: the rules of `why_not_next`, which looks through all ops, kept as sets."""

    def __init__(self, order: Draft) -> None:
        self._stages, self._copies = order.stages, order.copies
        self._done: set[Step] = set()
        self._owner: dict[tuple[int, int], int] = {}
        self._holders: dict[int, set[int]] = defaultdict(set)

    def ran(self, rank: int, step: Step) -> bool:
        """Run the step, if it can; return whether it did."""
        kind, stage, microbatch = step
        holders = self._holders[stage]
        if any((same, stage, microbatch) in self._done for same in SAME[kind]):
            return False
        if not all(self._done.intersection(ops) for ops in needed(step, self._stages)):
            return False
        if self._owner.get((stage, microbatch), rank) != rank:
            return False
        if rank not in holders and len(holders) >= self._copies:
            return False
        self._done.add(step)
        self._owner[stage, microbatch] = rank
        holders.add(rank)
        return True
