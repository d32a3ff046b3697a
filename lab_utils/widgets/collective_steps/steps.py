"""A collective chunk by chunk, step by step, as the ranks' recorded messages and notes tell it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lab_utils.timeline.trace import Trace
from lab_utils.widgets.collective_steps.record import ChunkLog
from lab_utils.widgets.collective_steps.replay import EMPTY, MIXED, Carried, Content, Labels, Parts, Walk, replay

Effect = Literal["adds", "keeps", "mixes"]
Holding = tuple[Parts, ...]  # ((0, 1), (2,)): 0 and 1 added up, and beside them 2; fullest first


@dataclass(frozen=True, slots=True)
class Chunk:
    """Elements start .. stop - 1 of the parts of `ranks`, which are combined (one rank: copied), and go together."""

    ranks: tuple[int, ...]
    start: int
    stop: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Sent:
    """One recorded message of a step.

    chunks    which are in it, and parts[i]: whose parts were in chunks[i] when it left
    effect    the receiver "adds" it to what it has, or "keeps" what arrives, or "mixes" elements that are not the same
    other     elements in it that are of no chunk
    source    the sender's line
    """

    step: int
    src: int
    dst: int
    tag: int
    chunks: tuple[int, ...]
    parts: tuple[Holding, ...]
    effect: Effect
    other: int
    bytes: int
    source: str


@dataclass(frozen=True, slots=True)
class Result:
    """What came out on a rank: chunks that are complete, and all that is wrong, in words."""

    complete: tuple[int, ...]
    wrong: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChunkSteps:
    """What every rank held of every chunk before the first step and after each.

    chunks    runs of elements that had the same fate: nobody said where to cut
    sent      sent[k] = the messages of step k + 1
    holds     holds[k][rank][chunk] = whose parts had come together on that rank after k steps, a rank twice where its
              part was added twice. What is in something fuller is left out
    mixed     mixed[k][rank] = elements that were made of unlike elements
    results   for each rank what `flow.result` showed, None where nobody called it
    """

    chunks: tuple[Chunk, ...]
    sent: tuple[tuple[Sent, ...], ...]
    holds: tuple[tuple[tuple[Holding, ...], ...], ...]
    mixed: tuple[tuple[int, ...], ...]
    results: tuple[Result | None, ...]

    @classmethod
    def of(cls, trace: Trace, logs: Sequence[ChunkLog]) -> ChunkSteps:
        """ValueError unless there is one log of each rank, recorded in that trace; when no part was sent, or the
        parts fall into more chunks than can be drawn."""
        ranks = [getattr(log, "rank", None) for log in logs]
        if ranks != list(range(trace.world_size)):
            raise ValueError(
                f"the trace has ranks 0 to {trace.world_size - 1}, and the logs are of {ranks}: every rank's function "
                "returns flow.record(), and trace.results goes here as it is"
            )
        from lab_utils.widgets.collective_steps.steps import Joined  # it makes what is defined here, so not at the top

        return Joined(trace, logs).steps()

    @property
    def world_size(self) -> int:
        return len(self.holds[0])

    @property
    def bytes_sent(self) -> list[int]:
        """By each rank, over all steps."""
        totals = [0] * self.world_size
        for sent in (sent for step in self.sent for sent in step):
            totals[sent.src] += sent.bytes
        return totals

    def complete(self, step: int, rank: int, chunk: int) -> bool:
        """Whether the chunk was all there on that rank after so many steps, each part once."""
        return self.chunks[chunk].ranks in self.holds[step][rank][chunk]


# From the ranks' notes, element by element, to chunks: runs of elements that had the same fate.
MOST_CHUNKS = 64


class Joined:
    """The replayed notes, element by element, on their way to chunks.

    A column is an element that ranks combine: `of` tells which ranks, `index` which element of their parts.
    """

    def __init__(self, trace: Trace, logs: Sequence[ChunkLog]) -> None:
        self.trace, self.logs = trace, logs
        self.walks, self.carried, self.labels = replay(logs)
        self.span = 1 + max(len(log.given) for log in logs)
        self.family = _families(self.labels, len(logs))
        self.holdings: dict[Holding, int] = {(): 0}
        self.columns = self._columns()
        if not len(self.columns):
            raise ValueError(
                "no message carried numbers that came from a followed tensor: follow what the collective is given, "
                "around its sends and receives"
            )
        self.starts = self._starts()

    def _columns(self) -> np.ndarray:
        """All elements of families that travel, in the order of their first rank."""
        travels = {int(family) for m in self.carried for family in np.unique(self.family[m.content.labels])}
        travels.discard(-1)
        found = [self._column(walk.held[0]) for walk in self.walks]
        every = np.unique(np.concatenate(found))
        return every[np.isin(every // self.span, sorted(travels))] if len(every) else every

    def _column(self, content: Content) -> np.ndarray:
        """Of each element its column, -1 for what is nobody's part."""
        column = self.family[content.labels].astype(np.int64) * self.span + content.indices
        return np.where((content.indices >= 0) & (content.labels != EMPTY), column, -1)

    def _row(self, content: Content) -> np.ndarray:
        """For each column the number, in `holdings`, of what the content holds of it."""
        column = self._column(content)
        at = np.minimum(np.searchsorted(self.columns, column), len(self.columns) - 1)
        of_column = self.columns[at] == column
        row = np.zeros(len(self.columns), dtype=np.int32)
        for label in sorted(set(content.labels[of_column].tolist()), key=lambda label: -len(self.labels.parts[label])):
            where = at[of_column & (content.labels == label)]
            for held in set(row[where].tolist()):
                same = where[row[where] == held]
                row[same] = self._with(held, self.labels.parts[label])
        return row

    def _with(self, held: int, parts: Parts) -> int:
        """The number of that holding and these parts beside it, unless something in it has them all."""
        holding = list(self.holdings)[held]
        if not any(_within(parts, fuller) for fuller in holding):
            holding = (*holding, parts)
        return self.holdings.setdefault(holding, len(self.holdings))

    def _contents(self) -> Iterator[Content]:
        for walk in self.walks:
            yield from walk.held
        yield from (message.content for message in self.carried)

    def _starts(self) -> np.ndarray:
        """Where a new chunk begins: elements next to each other had another fate somewhere."""
        breaks = np.diff(self.columns) != 1
        for content in self._contents():
            breaks |= np.diff(self._row(content)) != 0
        starts = np.concatenate([[0], np.flatnonzero(breaks) + 1])
        if len(starts) > MOST_CHUNKS:
            raise ValueError(
                f"the parts fall into {len(starts)} chunks that go their own ways, and {MOST_CHUNKS} can be drawn: "
                "follow a smaller tensor or fewer ranks"
            )
        return starts

    def _parts(self, content: Content) -> tuple[Holding, ...]:
        row = self._row(content)[self.starts].tolist()
        known = list(self.holdings)
        return tuple(known[held] for held in row)

    def steps(self) -> ChunkSteps:
        last = len(self.walks[0].held)
        holds = tuple(tuple(self._parts(walk.held[k]) for walk in self.walks) for k in range(last))
        messages = self.trace.messages()
        mixed = tuple(tuple(walk.mixed[k] for walk in self.walks) for k in range(last))
        sent = [self._sent(message, holds, mixed, messages) for message in self.carried]
        return ChunkSteps(
            self._chunks(),
            tuple(tuple(s for s in sent if s.step == k) for k in range(1, last)),
            holds,
            mixed,
            tuple(self._result(walk) for walk in self.walks),
        )

    def _chunks(self) -> tuple[Chunk, ...]:
        families, ends = self.columns // self.span, [*self.starts[1:], len(self.columns)]
        made = []
        for start, end in zip(self.starts, ends, strict=True):
            ranks = tuple(r for r in range(len(self.logs)) if self.family[self.labels.label((r,))] == families[start])
            size = int(end - start)
            first = int(self.columns[start] % self.span)
            made.append(Chunk(ranks, first, first + size, size * self.logs[ranks[0]].itemsize))
        return tuple(made)

    def _sent(self, carried: Carried, holds: tuple, mixed: tuple, messages: dict) -> Sent:
        src, dst, tag, *_ = carried.key
        if "send" not in messages.get(carried.key, {}):
            raise ValueError(f"the logs tell of a message from rank {src} to rank {dst} that is not in this trace")
        op = messages[carried.key]["send"]
        parts = self._parts(carried.content)
        chunks = tuple(c for c, whose in enumerate(parts) if whose)
        mixes = mixed[carried.step][dst] > mixed[carried.step - 1][dst]
        adds = any(_grew(parts[c], holds[carried.step][dst][c]) for c in chunks)
        effect = "mixes" if mixes else "adds" if adds else "keeps"
        other = int((~np.isin(self._column(carried.content), self.columns)).sum())
        return Sent(
            carried.step, src, dst, tag, chunks, tuple(parts[c] for c in chunks), effect, other, op.bytes, op.source,
        )  # fmt: skip

    def _result(self, walk: Walk) -> Result | None:
        if walk.log.result is None:
            return None
        content = walk.memory.read(walk.log.result)
        held = self._parts(content)
        whole = tuple(c for c, chunk in enumerate(self._chunks()) if held[c] == (chunk.ranks,))
        twice = [c for c, parts in enumerate(held) if any(len(set(p)) < len(p) for p in parts)]
        lacking = [c for c, parts in enumerate(held) if parts and c not in whole and c not in twice]
        return Result(whole, tuple(self._wrong(content, twice, lacking)))

    def _wrong(self, content: Content, twice: list[int], lacking: list[int]) -> Iterator[str]:
        column = self._column(content)
        there = column[column >= 0]
        if strange := int((~np.isin(column, self.columns) & (content.indices != MIXED)).sum()):
            yield f"{strange:,} elements are of no chunk"
        if mixed := int((content.indices == MIXED).sum()):
            yield f"{mixed:,} elements were made of unlike elements"
        if lacking:
            yield f"{_named(lacking)} without all parts"
        if twice:
            yield f"{_named(twice)} with a part more than once"
        if len(there) and (np.diff(there) <= 0).any():
            yield "elements are out of order"


def _within(parts: Parts, fuller: Parts) -> bool:
    return all(parts.count(rank) <= fuller.count(rank) for rank in parts)


def _grew(arrived: Holding, then: Holding) -> bool:
    """Whether what arrived is in something fuller by now."""
    return any(len(fuller) > len(parts) and _within(parts, fuller) for parts in arrived for fuller in then)


def _named(chunks: list[int]) -> str:
    return f"chunk{'s' if len(chunks) > 1 else ''} {', '.join(map(str, chunks))}"


def _families(labels: Labels, ranks: int) -> np.ndarray:
    """For each label the first of the ranks whose parts are ever combined with those in it; -1 for nobody's."""
    first = list(range(ranks))
    for parts in labels.parts:
        joined = {first[rank] for rank in parts}
        first = [min(joined) if family in joined else family for family in first]
    return np.array([first[parts[0]] if parts else -1 for parts in labels.parts])
