"""A schedule placed op by op by hand: which ops may come next, and why others may not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lab_utils.schedule import Draft, why_not_next
from lab_utils.schedule.ops import BW, KINDS, B, F, Step, W, read, told
from lab_utils.schedule.search.problem import placed_stages
from lab_utils.widgets.schedule_explorer import sentences, words
from lab_utils.widgets.schedule_explorer.choice import Setting, virtual_stages_of

Move = tuple[int, str]  # rank, and the op as text


class Offer(NamedTuple):
    """A candidate for a rank's next op, and why it is not legal, "" if it is."""

    rank: int
    word: str
    why: str


class Hand:
    """The ops placed so far, in order of placement.

    whole   a backward is one op, BW: no rank may run B or W alone
    """

    def __init__(self, setting: Setting, stage_layout: str, whole: bool = False) -> None:
        stages_of = placed_stages(setting.p, stage_layout, virtual_stages_of(stage_layout, setting.v))
        self.stages_of, self.stages, self.microbatches = stages_of.tolist(), stages_of.size, setting.m
        self.limit, self.whole = setting.limit, whole
        self.moves: list[Move] = []
        self._orders: list[list[Step]] = [[] for _ in range(setting.p)]
        self.draft = self._draft()

    def follow(self, moves: Iterable[Sequence]) -> str:
        """Apply these moves as far as they are legal; return why not further, "" if all are."""
        wanted = [(int(rank), str(word)) for rank, word in moves]
        same = next((at for at, pair in enumerate(zip(self.moves, wanted, strict=False)) if pair[0] != pair[1]), None)
        for _ in range(len(self.moves) - (min(len(self.moves), len(wanted)) if same is None else same)):
            rank, _ = self.moves.pop()
            self._orders[rank].pop()
        self.draft = self._draft()
        for rank, word in wanted[len(self.moves) :]:
            if why := self._place(rank, word):
                return why
        return ""

    def _place(self, rank: int, word: str) -> str:
        if not 0 <= rank < len(self._orders):
            return words.NO_RANK.format(rank=rank, last=len(self._orders) - 1)
        try:
            step = read([*[""] * rank, word])[rank]
        except ValueError as wrong:
            return str(wrong)
        if len(step) != 1:
            return words.ONE_AT_A_TIME.format(text=repr(word), count=len(step))
        why = self.why_not(rank, step[0])
        if not why:
            self._run(rank, step[0])
        return why

    def _run(self, rank: int, step: Step) -> None:
        self._orders[rank].append(step)
        self.moves.append((rank, self.word(step)))
        self.draft = self._draft()

    def follow_ranks(self, orders: Sequence[Sequence[Step]]) -> list[int]:
        """Run the ranks' orders side by side as far as they are legal; return how far each one came."""
        at = [0] * len(orders)
        while True:
            before = sum(at)
            for rank, order in enumerate(orders):
                while at[rank] < len(order) and not self.why_not(rank, order[at[rank]]):
                    self._run(rank, order[at[rank]])
                    at[rank] += 1
            if sum(at) == before:
                return at

    def why_not(self, rank: int, step: Step) -> str:
        """Return in a sentence why the rank may not run it next, "" if it may."""
        here = self.stages_of[rank]
        if 0 <= step[1] < self.stages and step[1] not in here:
            return sentences.other_stage(rank, here, step[1])
        if self.whole and step[0] in (B, W):
            return words.WHOLE_BACKWARD.format(op=told(step))
        return why_not_next(self.draft, rank, step, self.limit)

    def word(self, step: Step) -> str:
        """Return the op as text, with the stage if ranks have several."""
        kind, stage, microbatch = step
        return f"{stage if len(self.stages_of[0]) > 1 else ''}{KINDS[kind]}{microbatch}"

    def offers(self) -> Iterator[Offer]:
        """Yield per rank the next op of each kind and stage: the first ready one, else the first left."""
        done = self._done()
        for rank, stages in enumerate(self.stages_of):
            for stage in stages:
                for kind in (F, BW) if self.whole else (F, B, W, BW):
                    if (at := self._next(done, kind, stage)) is not None:
                        step = (kind, stage, at)
                        yield Offer(rank, self.word(step), self.why_not(rank, step))

    @property
    def left(self) -> int:
        """Number of F, B and W still to be placed; a BW counts as two, or as one if there is nothing else."""
        done, kinds = self._done(), (F, B) if self.whole else (F, B, W)
        return sum(int((~done[kind]).sum()) for kind in kinds)

    def _done(self) -> dict[int, np.ndarray]:
        """Return the placed ops, bool[stages, micro-batches] for F, B and W."""
        d = self.draft
        done = {kind: np.zeros((self.stages, self.microbatches), bool) for kind in (F, B, W)}
        for kind, table in done.items():
            of = (d.kind == kind) | ((d.kind == BW) & (kind != F))
            table[d.stage[of], d.microbatch[of]] = True
        return done

    def _next(self, done: dict[int, np.ndarray], kind: int, stage: int) -> int | None:
        f, b, w = (done[each][stage] for each in (F, B, W))
        behind = done[B][stage + 1] if stage < self.stages - 1 else True
        open_, ready = {
            F: (~f, done[F][stage - 1] if stage else True),
            B: (~b, f & behind),
            W: (~w, b),
            BW: (~b, f & behind),
        }[kind]
        for which in (open_ & ready, open_):
            if which.any():
                return int(np.argmax(which))
        return None

    def _draft(self) -> Draft:
        return Draft.of_steps(words.TITLES["hand"], self._orders, self.stages, self.microbatches)


def moves_of(draft: Draft, start: np.ndarray, before: int | None = None) -> list[Move]:
    """Return the draft's ops as moves in a legal order; with `before`, those that start before that op."""
    at, ends = draft.first[:-1].tolist(), draft.first[1:].tolist()
    done, moves = np.zeros(len(draft), bool), []
    while ready := [i for i, end in zip(at, ends, strict=True) if i < end and _met(draft, done, i)]:
        op = min(ready, key=lambda i: start[i])
        done[op] = True
        at[draft.rank[op]] += 1
        if before is None or start[op] < start[before]:
            moves.append((int(draft.rank[op]), f"{draft.stage[op]}{KINDS[draft.kind[op]]}{draft.microbatch[op]}"))
    return moves


def _met(draft: Draft, done: np.ndarray, at: int) -> bool:
    return bool(draft.needs[at] < 0 or done[draft.needs[at]])
