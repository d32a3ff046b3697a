"""A collective by chunks and rounds, reconstructed from the ranks' recorded messages and logs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lab_utils.text import numbered
from lab_utils.timeline.trace import Trace
from lab_utils.widgets.collective_steps import words
from lab_utils.widgets.collective_steps.record import ChunkLog
from lab_utils.widgets.collective_steps.replay import EMPTY, MIXED, Carried, Content, Labels, Parts, Walk, replay

Effect = Literal["adds", "keeps", "mixes"]
Holding = tuple[Parts, ...]  # ((0, 1), (2,)): 0 and 1 reduced, and 2 separately; fullest first


@dataclass(frozen=True, slots=True)
class Chunk:
    """Elements start .. stop - 1 of the parts of `ranks`, which travel together and are reduced (one rank: copied)."""

    ranks: tuple[int, ...]
    start: int
    stop: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Sent:
    """One recorded message of a round.

    chunks    the chunks in it; parts[i] are the ranks whose parts were in chunks[i] when it was sent
    effect    the receiver "adds" it to what it has, "keeps" what arrives, or "mixes" different elements
    other     number of its elements that belong to no chunk
    source    the sender's source line
    """

    round: int
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
    """The result on a rank: complete chunks, and errors as text."""

    complete: tuple[int, ...]
    wrong: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChunkRounds:
    """What every rank held of every chunk before the first round and after each round.

    chunks    inferred: runs of elements that were sent and reduced alike
    sent      sent[k] = the messages of round k + 1
    holds     holds[k][rank][chunk] = ranks whose parts were reduced on that rank after k rounds, a rank twice if its
              part was added twice; subsets of a fuller set are left out
    mixed     mixed[k][rank] = number of elements computed from different elements
    results   per rank, from `flow.result`; None if it was not called
    """

    chunks: tuple[Chunk, ...]
    sent: tuple[tuple[Sent, ...], ...]
    holds: tuple[tuple[tuple[Holding, ...], ...], ...]
    mixed: tuple[tuple[int, ...], ...]
    results: tuple[Result | None, ...]

    @classmethod
    def of(cls, trace: Trace, logs: Sequence[ChunkLog]) -> ChunkRounds:
        """Build it. ValueError unless there is one log per rank, recorded in that trace; if no part was sent, or there
        are more chunks than can be drawn."""
        ranks = [getattr(log, "rank", None) for log in logs]
        if ranks != list(range(trace.world_size)):
            raise ValueError(words.NOT_EACH_ONCE.format(last=trace.world_size - 1, ranks=ranks))
        return Joined(trace, logs).rounds()

    @property
    def world_size(self) -> int:
        return len(self.holds[0])

    @property
    def bytes_sent(self) -> list[int]:
        """Bytes sent per rank, over all rounds."""
        totals = [0] * self.world_size
        for sent in (sent for messages in self.sent for sent in messages):
            totals[sent.src] += sent.bytes
        return totals


MOST_CHUNKS = 64


class Joined:
    """Builds ChunkRounds from the replayed logs: groups elements that were sent and reduced alike into chunks.

    A column is an element that ranks combine, numbered family * span + index: `family` is the first of those ranks,
    index the element of their parts.
    """

    def __init__(self, trace: Trace, logs: Sequence[ChunkLog]) -> None:
        self.trace, self.logs = trace, logs
        self.walks, self.carried, self.labels = replay(logs)
        self.span = 1 + max(len(log.given) for log in logs)
        self.family = _families(self.labels, len(logs))
        self.holdings: dict[Holding, int] = {(): 0}
        self.columns = self._columns()
        if not len(self.columns):
            raise ValueError(words.NOTHING_CARRIED)
        self.starts = self._starts()

    def _columns(self) -> np.ndarray:
        """Return all elements of families that are sent, in the order of their first rank."""
        travels = {int(family) for m in self.carried for family in np.unique(self.family[m.content.labels])}
        travels.discard(-1)
        found = [self._column(walk.held[0]) for walk in self.walks]
        every = np.unique(np.concatenate(found))
        return every[np.isin(every // self.span, sorted(travels))] if len(every) else every

    def _column(self, content: Content) -> np.ndarray:
        """Return the column of each element, -1 if it comes from no rank's part."""
        column = self.family[content.labels].astype(np.int64) * self.span + content.indices
        return np.where((content.indices >= 0) & (content.labels != EMPTY), column, -1)

    def _row(self, content: Content) -> np.ndarray:
        """Return for each column the index in `holdings` of what the content holds of it."""
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
        """Return the index of the holding extended by these parts, unless one in it already contains them."""
        holding = list(self.holdings)[held]
        if not any(_within(parts, fuller) for fuller in holding):
            holding = (*holding, parts)
        return self.holdings.setdefault(holding, len(self.holdings))

    def _contents(self) -> Iterator[Content]:
        for walk in self.walks:
            yield from walk.held
        yield from (message.content for message in self.carried)

    def _starts(self) -> np.ndarray:
        """Return where chunks begin: at columns that somewhere differ from the one before."""
        breaks = np.diff(self.columns) != 1
        for content in self._contents():
            breaks |= np.diff(self._row(content)) != 0
        starts = np.concatenate([[0], np.flatnonzero(breaks) + 1])
        if len(starts) > MOST_CHUNKS:
            raise ValueError(words.TOO_MANY_CHUNKS.format(count=len(starts), most=MOST_CHUNKS))
        return starts

    def _parts(self, content: Content) -> tuple[Holding, ...]:
        row = self._row(content)[self.starts].tolist()
        known = list(self.holdings)
        return tuple(known[held] for held in row)

    def rounds(self) -> ChunkRounds:
        last = len(self.walks[0].held)
        holds = tuple(tuple(self._parts(walk.held[k]) for walk in self.walks) for k in range(last))
        messages = self.trace.messages()
        mixed = tuple(tuple(walk.mixed[k] for walk in self.walks) for k in range(last))
        sent = [self._sent(message, holds, mixed, messages) for message in self.carried]
        return ChunkRounds(
            self._chunks(),
            tuple(tuple(s for s in sent if s.round == k) for k in range(1, last)),
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
            raise ValueError(words.NOT_IN_TRACE.format(src=src, dst=dst))
        op = messages[carried.key]["send"]
        parts = self._parts(carried.content)
        chunks = tuple(c for c, whose in enumerate(parts) if whose)
        mixes = mixed[carried.round][dst] > mixed[carried.round - 1][dst]
        adds = any(_grew(parts[c], holds[carried.round][dst][c]) for c in chunks)
        effect = "mixes" if mixes else "adds" if adds else "keeps"
        other = int((~np.isin(self._column(carried.content), self.columns)).sum())
        return Sent(
            carried.round, src, dst, tag, chunks, tuple(parts[c] for c in chunks), effect, other, op.bytes, op.source,
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
            yield words.OF_NONE.format(count=strange)
        if mixed := int((content.indices == MIXED).sum()):
            yield words.UNLIKE.format(count=mixed)
        if lacking:
            yield words.LACKING.format(chunks=numbered("chunk", lacking))
        if twice:
            yield words.WITH_A_PART_TWICE.format(chunks=numbered("chunk", twice))
        if len(there) and (np.diff(there) <= 0).any():
            yield words.OUT_OF_ORDER


def _within(parts: Parts, fuller: Parts) -> bool:
    return all(parts.count(rank) <= fuller.count(rank) for rank in parts)


def _grew(arrived: Holding, then: Holding) -> bool:
    """Return whether what arrived is now part of a fuller set."""
    return any(len(fuller) > len(parts) and _within(parts, fuller) for parts in arrived for fuller in then)


def _families(labels: Labels, ranks: int) -> np.ndarray:
    """Return for each label the first of the ranks whose parts are ever combined with its own; -1 for empty."""
    first = list(range(ranks))
    for parts in labels.parts:
        joined = {first[rank] for rank in parts}
        first = [min(joined) if family in joined else family for family in first]
    return np.array([first[parts[0]] if parts else -1 for parts in labels.parts])
