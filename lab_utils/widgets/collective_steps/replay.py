"""Replay the ranks' logs together: whose parts are where in each rank's memory, after every message.

A number in memory is (label, index): the label gives the ranks whose parts are in it and how often, the index the
element of those parts. All ranks share one table of labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lab_utils.timeline.message_counts import take_turns
from lab_utils.widgets.collective_steps.record import ChunkLog, Key, Over, Places, Posted, Wrote, index_of

EMPTY = 0  # label of memory that holds no rank's part
NO_INDEX, MIXED = -1, -2  # indices of empty memory, and of results of different elements
_HALF = 2**32 - 1
Parts = tuple[int, ...]  # ranks with multiplicity: (0, 1, 1) contains rank 1's part twice


class Labels:
    """Table of labels: parts[label] = ranks whose parts are in it."""

    def __init__(self) -> None:
        self.parts: list[Parts] = [()]
        self._known: dict[Parts, int] = {(): EMPTY}

    def label(self, parts: Parts) -> int:
        if parts not in self._known:
            self._known[parts] = len(self.parts)
            self.parts.append(parts)
        return self._known[parts]

    def joined(self, first: np.ndarray, second: np.ndarray, how: str) -> np.ndarray:
        """Return the labels of the elementwise combination of both."""
        pairs, place = np.unique(_pair(first, second), return_inverse=True)
        halves = zip((pairs >> 32).tolist(), (pairs & _HALF).tolist(), strict=True)
        made = [self.label(_join(self.parts[a], self.parts[b], how)) for a, b in halves]
        return np.array(made, dtype=np.int32)[place]


def _pair(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Pack pairs into one number each: np.unique is slow on pairs."""
    return high.astype(np.int64) << 32 | low


def _join(first: Parts, second: Parts, how: str) -> Parts:
    if how == "adds":
        return tuple(sorted(first + second))
    return tuple(sorted(rank for rank in {*first, *second} for _ in range(max(first.count(rank), second.count(rank)))))


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """The content of memory or of a message: labels[i] and indices[i] of its i-th element."""

    labels: np.ndarray
    indices: np.ndarray


@dataclass(slots=True, eq=False)
class Carried:
    """A sent message. `round` is 1, 2, ...: the round at which it could be sent, later that of its receive."""

    key: Key
    round: int
    content: Content


class Memory:
    """All that a rank has held; freed memory keeps its last content."""

    def __init__(self, log: ChunkLog, labels: Labels) -> None:
        self.table = labels
        self.labels = np.full(log.places, EMPTY, dtype=np.int32)
        self.indices = np.full(log.places, NO_INDEX, dtype=np.int32)
        given = index_of(log.given)
        self.labels[given] = labels.label((log.rank,))
        self.indices[given] = np.arange(len(log.given))

    def read(self, places: Places) -> Content:
        at = index_of(places)
        labels, indices = self.labels[at].copy(), self.indices[at].copy()
        if not isinstance(places, range):
            labels[places < 0], indices[places < 0] = EMPTY, NO_INDEX
        return Content(labels, indices)

    def write(self, places: Places, content: Content) -> None:
        at = index_of(places)
        self.labels[at], self.indices[at] = content.labels, content.indices

    def wrote(self, event: Wrote) -> None:
        sources = [self.read(source) for source in event.sources]
        if event.how == "mixes" or not sources:
            mixed = NO_INDEX if not sources else MIXED
            size = len(event.target)
            made = Content(np.full(size, EMPTY, dtype=np.int32), np.full(size, mixed, dtype=np.int32))
        else:
            made = sources[0]
            for source in sources[1:]:
                made = self._made_of(made, source, event.how)
        self.write(event.target, made)

    def _made_of(self, first: Content, second: Content, how: str) -> Content:
        """Combine contents; elements computed from different elements become MIXED, with an empty label."""
        a, b = first.indices, second.indices
        indices = np.where(a == NO_INDEX, b, np.where((b == NO_INDEX) | (a == b), a, MIXED)).astype(np.int32)
        labels = self.table.joined(first.labels, second.labels, how)
        return Content(np.where(indices == MIXED, EMPTY, labels).astype(np.int32), indices)

    def held(self) -> Content:
        """Return the distinct (label, index) pairs in memory."""
        kinds = np.unique(_pair(self.labels, self.indices - MIXED))
        return Content(kinds >> 32, (kinds & _HALF) + MIXED)

    def mixed(self) -> int:
        return int((self.indices == MIXED).sum())


class Walk:
    """One rank's progress through its log, as far as the messages that it waits for have been sent."""

    def __init__(self, log: ChunkLog, labels: Labels) -> None:
        self.log, self.memory = log, Memory(log, labels)
        self.position = self.round = 0
        self.posted: dict[tuple[str, Key], tuple[int, Places]] = {}
        self.held = [self.memory.held()]  # before the first round, then after each round
        self.mixed = [0]

    @property
    def finished(self) -> bool:
        return self.position == len(self.log.events)

    def advance(self, sent: dict[Key, Carried], expected: set[Key]) -> bool:
        """Replay up to the first awaited message not sent yet; return whether there was any progress."""
        first = self.position
        while not self.finished and self._pass(self.log.events[self.position], sent, expected):
            self.position += 1
        return self.position > first

    def _pass(self, event: Wrote | Posted | Over, sent: dict[Key, Carried], expected: set[Key]) -> bool:
        if isinstance(event, Wrote):
            self.memory.wrote(event)
        elif isinstance(event, Posted):
            self.posted[event[:2]] = self.round, event.places
            if event.end == "send":
                sent[event.key] = Carried(event.key, self.round + 1, self.memory.read(event.places))
        elif event.key in expected and event.key not in sent:
            return False
        else:
            self._over(event, sent.get(event.key))
        return True

    def _over(self, event: Over, carried: Carried | None) -> None:
        """Complete a message, counting rounds as message_rounds does. Without a log of its send, it is empty."""
        posted_at, places = self.posted[event[:2]]
        if carried is None:
            if event.end == "recv":
                self.memory.wrote(Wrote(places, ()))
            return
        if event.end == "send":
            return self._rise(max(self.round, posted_at + 1))
        carried.round = max(posted_at + 1, carried.round)
        self._rise(max(self.round, carried.round))
        self.memory.write(places, carried.content)

    def _rise(self, k: int) -> None:
        """Advance to round k, recording the current content for all rounds before it."""
        if k > self.round:
            self.note_until(k - 1)
            self.round = k

    def note_until(self, k: int) -> None:
        if len(self.held) <= k:
            held, mixed = self.memory.held(), self.memory.mixed()
            missing = k + 1 - len(self.held)
            self.held += [held] * missing
            self.mixed += [mixed] * missing


def replay(logs: Sequence[ChunkLog]) -> tuple[list[Walk], list[Carried], Labels]:
    """Return every rank's walk with what it held after each round, the messages ordered by round, and the labels.

    ValueError if ranks wait for each other's messages in a cycle.
    """
    labels = Labels()
    walks = [Walk(log, labels) for log in logs]
    expected = {event.key for log in logs for event in log.events if isinstance(event, Posted) and event.end == "send"}
    sent: dict[Key, Carried] = {}
    take_turns(walks, lambda walk: walk.advance(sent, expected))
    carried = sorted(sent.values(), key=lambda message: (message.round, *message.key[:3], message.key[4]))
    last = max((message.round for message in carried), default=0)
    for walk in walks:
        walk.note_until(last)
    return walks, carried, labels
