"""Collects what this rank does: ops with their times, the compute between them, named phases.

One Recorder per process (a process is a rank). The recorded process group tells it of every op; without a
`recording()` it only keeps the board, so that a stuck rank can be named.
"""

from __future__ import annotations

import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch

from lab_utils.comm.board import Board, Row
from lab_utils.timeline.trace import Op, Phase

now = time.perf_counter
_LAB = str(Path(__file__).parents[1])
_PLUMBING = (str(Path(__file__).parent), f"{_LAB}/ranks")
_LIBRARIES = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), str(Path(torch.__file__).parent), "<frozen")
_names: dict[str, str] = {}
_SHORTEST_COMPUTE_S = 1e-6


@dataclass(slots=True, eq=False)
class Entry:
    """An op while it is under way; becomes an `Op` when the recording ends."""

    kind: str
    name: str
    group: str = ""
    ranks: tuple[int, ...] = ()
    seq: int = 0
    bytes: int = 0
    shape: str = ""
    peer: int | None = None
    tag: int = 0
    asynchronous: bool = True
    of: Entry | None = None
    source: str = ""
    phase: str = ""
    issue_s: float = 0.0
    wait_s: float | None = None
    done_s: float | None = None


@dataclass(slots=True)
class Recording:
    """What one `recording()` collected; `ops` and `phases` are filled when it ends."""

    entries: list[Entry] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)


class Recorder:
    """The process's own recorder: `recorder` below. Only the rank's main thread issues ops."""

    def __init__(self) -> None:
        self.rank = 0
        self.recording: Recording | None = None
        self.row = Row("idle", now())
        self._board: Board | None = None
        self._phases: list[str] = []
        self._cursor_s = 0.0  # until here the rank's own stream is accounted for
        self._for_autograd: list[Entry] = []  # ops whose future somebody took during this backward
        self._pending_waits: list[Entry] = []

    # ------------------------------------------------------------------ the board
    def attach(self, rank: int, board: Board | None) -> None:
        """Say which rank this process is, and where it shows the op it is in."""
        self.rank, self._board = rank, board

    def show(self, state: str, entry: Entry | None = None) -> None:
        """Say what this rank is doing now. An op that fails leaves its row, which then names what failed."""
        if entry is None:
            self.row = Row(state, now())
        else:
            self.row = Row(state, now(), entry.name, entry.group, entry.seq, entry.shape, entry.source)
        if self._board is not None:
            self._board.write(self.rank, self.row)

    # ------------------------------------------------------------------ ops
    def issue(self, entry: Entry) -> None:
        """The rank comes to an op, before it is handed to the backend."""
        entry.source = caller()
        self.show("in", entry)
        entry.issue_s = now()
        if self.recording is not None:
            entry.phase = self._phases[-1] if self._phases else ""
            self._compute_until(entry.issue_s)
            self.recording.entries.append(entry)

    def issued(self, entry: Entry, work: torch.distributed.Work) -> None:
        """The backend has taken the op and the rank goes on (to its wait at once, when synchronous)."""
        self.show("computing")
        if self.recording is None:
            return
        self._cursor_s = now()
        if (future := _future(work)) is not None:
            future.add_done_callback(lambda _: _set_done(entry))

    def future_taken(self, entry: Entry) -> None:
        """Somebody will wait for the op's future where we cannot see it: DDP does, at the end of backward."""
        if self.recording is None or torch._C._current_graph_task_id() < 0:
            return
        if not self._for_autograd:
            torch.autograd.Variable._execution_engine.queue_callback(self._backward_ended)
        self._for_autograd.append(entry)

    def _backward_ended(self) -> None:
        # Queued before DDP's own last callback, which then blocks on these futures one after the other.
        at, self._for_autograd, taken = now(), [], self._for_autograd
        unfinished = [entry for entry in taken if entry.done_s is None]
        if self.recording is None or not unfinished:
            return
        self._compute_until(at)
        for entry in unfinished:
            entry.wait_s = at
            wait = Entry("wait", entry.name, of=entry, source=entry.source, phase=entry.phase, issue_s=at)
            self.recording.entries.append(wait)
            self._pending_waits.append(wait)
        self.show("in", unfinished[0])

    def wait_begins(self, entry: Entry, synchronous: bool) -> Entry | None:
        """The rank blocks on the op. Returns the wait's own entry when the op is an asynchronous one."""
        entry.asynchronous = not synchronous
        self.show("in", entry)
        if self.recording is None:
            return None
        at = now()
        if entry.wait_s is None:
            entry.wait_s = at
        if synchronous:
            return None
        self._compute_until(at)
        wait = Entry("wait", entry.name, of=entry, source=caller(), issue_s=at)
        wait.phase = self._phases[-1] if self._phases else ""
        self.recording.entries.append(wait)
        return wait

    def wait_ends(self, entry: Entry, wait: Entry | None) -> None:
        at = now()
        if entry.done_s is None:
            entry.done_s = at
        if wait is not None:
            wait.done_s = at
        self._cursor_s = at
        self.show("computing")

    def _compute_until(self, at: float) -> None:
        """Whatever the rank did since its last op was its own computing."""
        self._settle_waits()
        if at - self._cursor_s > _SHORTEST_COMPUTE_S:
            phase = self._phases[-1] if self._phases else ""
            compute = Entry("compute", "compute", phase=phase, issue_s=self._cursor_s, done_s=at)
            self.recording.entries.append(compute)
        self._cursor_s = max(self._cursor_s, at)

    def _settle_waits(self) -> None:
        """End the waits that happened inside autograd: one after the other, each until its op was done."""
        for wait in self._pending_waits:
            wait.issue_s = max(wait.issue_s, self._cursor_s)
            wait.done_s = max(wait.issue_s, wait.of.done_s or wait.issue_s)
            self._cursor_s = wait.done_s
        self._pending_waits = []

    # ------------------------------------------------------------------ phases and recordings
    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = now()
        if self.recording is not None:
            self._compute_until(start)
        self._phases.append(name)
        try:
            yield
        finally:
            end = now()
            if self.recording is not None:
                self._compute_until(end)
                self.recording.phases.append(Phase(self.rank, name, start, end))
            self._phases.pop()

    @contextmanager
    def record(self) -> Iterator[Recording]:
        if self.recording is not None:
            raise RuntimeError("a recording is already under way on this rank; end it before starting another")
        self.recording = recorded = Recording()
        self._cursor_s = now()
        try:
            yield recorded
        finally:
            self._compute_until(now())
            self.recording, self._for_autograd = None, []
            recorded.ops = _to_ops(self.rank, recorded.entries)


def _future(work: torch.distributed.Work) -> torch.futures.Future | None:
    """None where the backend has no futures (gloo's messages and reduce-scatters): done is then when wait() ends."""
    try:
        return work.get_future()
    except RuntimeError as error:
        if "not implemented" in str(error):
            return None
        raise


def _set_done(entry: Entry) -> None:
    if entry.done_s is None:
        entry.done_s = now()


def _to_ops(rank: int, entries: list[Entry]) -> list[Op]:
    index = {id(entry): i for i, entry in enumerate(entries)}
    return [
        Op(
            rank, entry.kind, entry.name, entry.group, entry.ranks, entry.seq, entry.bytes,
            peer=entry.peer, tag=entry.tag, asynchronous=entry.asynchronous and entry.kind not in ("compute", "wait"),
            of=None if entry.of is None else index.get(id(entry.of)), source=entry.source, phase=entry.phase,
            issue_s=entry.issue_s, wait_s=entry.wait_s, done_s=entry.done_s,
        )
        for entry in entries
    ]  # fmt: skip


def caller() -> str:
    """The nearest line that belongs to the user or to a strategy of the lab, not to a library: "train.py:41"."""
    frame = sys._getframe(1)
    while frame is not None:
        if name := _own_name(frame.f_code.co_filename):
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def name_files(names: dict[str, str]) -> None:
    """Call these files by other names, as the notebook does with its cells: {path: "In [5]"}."""
    _names.update(names)
    _own_name.cache_clear()


def is_own(filename: str) -> bool:
    return bool(_own_name(filename))


@lru_cache(maxsize=4096)
def _own_name(filename: str) -> str:
    """Last part of the path; empty for files of Python, of installed packages and of the lab's own plumbing."""
    if filename in _names:
        return _names[filename]
    in_lab = filename.startswith(_LAB) and not filename.startswith(_PLUMBING)
    if not in_lab and filename.startswith((*_PLUMBING, *_LIBRARIES)):
        return ""
    return filename.rpartition("/")[2]


class Sequence:
    """Numbers ops the way every rank counts them: per group, or per message channel."""

    def __init__(self) -> None:
        self._next: Counter = Counter()

    def take(self, key: object) -> int:
        value = self._next[key]
        self._next[key] += 1
        return value


recorder = Recorder()
phase = recorder.phase
recording = recorder.record
