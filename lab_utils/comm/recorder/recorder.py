"""Records what this rank does: ops with their times, the compute between them, named phases.

One Recorder per process (a process is a rank). The recorded process group reports every op to it; without a
`recording()` it only updates the board, so that a stuck rank can be named.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch._C._distributed_c10d import Work

from lab_utils.comm.recorder.clock import Moment, StreamClock, host_now
from lab_utils.comm.recorder.fingerprints import comparable
from lab_utils.comm.recorder.kernel_counter import KernelCounter, counting
from lab_utils.comm.recorder.pending_op import NOTHING, Computing, Counts, PendingOp
from lab_utils.comm.recorder.recorded_to_trace import to_ops
from lab_utils.comm.recorder.shown_state import Awaited, Presence, succeeded
from lab_utils.comm.recorder.source_line import caller
from lab_utils.comm.recorder.source_line import cell_name as cell_name
from lab_utils.comm.recorder.source_line import is_own as is_own
from lab_utils.comm.recorder.source_line import name_files as name_files
from lab_utils.timeline.ops import Op, Phase


# Two hooks into torch: the future of a work, and the end of a backward pass.
def future_of(work: Work) -> torch.futures.Future | None:
    """Return the work's future; None where the backend has none (gloo's messages and reduce-scatters)."""
    try:
        return work.get_future()
    except RuntimeError as error:
        if "not implemented" in str(error):
            return None
        raise


def in_backward() -> bool:
    """Return whether this thread is inside a backward pass."""
    return torch._C._current_graph_task_id() >= 0


def after_backward(callback: Callable[[], None]) -> None:
    """Run the callback when the current backward pass ends, after those queued before. Only inside a backward pass."""
    torch.autograd.Variable._execution_engine.queue_callback(callback)


# What one recording collects while it runs.
@dataclass(slots=True)
class Recording:
    """What one `recording()` collected; `ops` and `phases` are filled when it ends. No counter: no kernel counts."""

    entries: list[PendingOp | Computing] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    futures: dict[PendingOp, tuple[torch.futures.Future, Callable[[], Moment]]] = field(default_factory=dict)
    counter: KernelCounter | None = None

    def counting(self) -> AbstractContextManager[None]:
        return nullcontext() if self.counter is None else counting(self.counter)

    def counted(self) -> Counts:
        """Return what kernels did since the last call."""
        return NOTHING if self.counter is None else self.counter.take()

    def follow(self, entry: PendingOp, future: torch.futures.Future, now: Callable[[], Moment]) -> None:
        """Record when the op is done. The future is released then, because it holds the op's tensors."""

        def done(_: torch.futures.Future) -> None:
            entry.set_done(now())
            self.futures.pop(entry, None)

        self.futures[entry] = future, now
        future.add_done_callback(done)

    def finish(self, show: Callable[[str, PendingOp], None]) -> None:
        """Wait until every asynchronous op is done: a DDP hook may leave some to the backend's threads."""
        for entry, (future, now) in list(self.futures.items()):
            if entry.done_s is None:
                show("in", entry)
                future.wait()
                entry.set_done(now())  # unless its own callback came first


# gloo's thread records when an asynchronous op is done, and delays the op until it gets the GIL. By default a busy
# interpreter releases it after 5 ms.
_SWITCH_S = 1e-4


class Recorder(Presence):
    """The recorder of this process: `recorder` below.

    Ops may come from any thread (autograd has one per GPU, and the user may start some). They are kept in the order
    in which they arrive, and the time between them counts as one stream of compute.
    """

    _WAITS_IN = (*Presence._WAITS_IN, __file__)  # `_delay_all_reduce`, at the end

    def __init__(self) -> None:
        super().__init__()
        self.recording: Recording | None = None
        self._phases: list[str] = []
        self._stream: StreamClock | None = None
        self._now: Callable[[], Moment] = host_now
        self._cursor: Moment = 0.0  # the rank's time is accounted for up to here
        self._for_autograd: list[PendingOp] = []  # recorded ops whose future was taken during a backward
        self._pending: deque[tuple[PendingOp, torch.futures.Future]] = deque()  # of any such op, unless it succeeded
        self._backwards: set[int] = set()  # whose end calls back
        self.waits_at_once = False  # DDP takes futures and waits for them, without an end of backward in between

    def __reduce__(self) -> str:
        return "recorder"  # pickled by name: a user's function sent to the ranks uses the rank's own recorder

    def show(self, state: str, entry: PendingOp | None = None) -> None:
        super().show(state, entry)
        if state == "idle":  # what a backward that failed has left holds tensors
            self._pending.clear()
            self._for_autograd.clear()

    # ------------------------------------------------------------------ ops
    def issue(self, entry: PendingOp) -> None:
        """Record that the rank reaches an op, before the backend gets it. Mismatch when other ranks' ops differ."""
        self.come_to(entry)
        self.compare(entry)
        if self.recording is None:
            return
        if entry.on_device:
            self._read_stream()
        entry.issue_s = self._now()
        entry.phase = self._phase()
        self._compute_until(entry.issue_s)
        self.recording.entries.append(entry)

    def start(self, start: Callable[[], torch.distributed.Work]) -> torch.distributed.Work:
        """Hand the op to the backend."""
        counter = None if self.recording is None else self.recording.counter
        return start() if counter is None else counter.aside(start)

    def take_back(self, entry: PendingOp) -> None:
        """Forget a message that the backend refused: nothing of it was sent, so the next one has its number."""
        if not self.ledger.take_back(entry):
            return
        if self._fingerprints is not None and comparable(entry):
            self._fingerprints.take_back(entry)
        if self.recording is not None and entry in self.recording.entries:
            self.recording.entries.remove(entry)

    def issued(self, entry: PendingOp, work: torch.distributed.Work) -> None:
        """Record that the backend has taken the op; the rank goes on unless it waits at once."""
        if entry.asynchronous:
            self.show("computing")
        if self.recording is None:
            return
        self._go_on(self._now())
        if entry.asynchronous and (future := future_of(work)) is not None:
            self.recording.follow(entry, future, self._now if entry.on_device else host_now)

    def wait_begins(self, entry: PendingOp) -> PendingOp | None:
        """Record that the rank blocks on the op. Return the wait's own entry if the op is asynchronous."""
        if self._shown[0] != "in" or self._awaited:
            self.show("in", entry)
        if self.recording is None:
            return None
        at = self._now()
        if entry.wait_s is None:
            entry.wait_s = at
        if not entry.asynchronous:
            return None
        self._compute_until(at)
        wait = PendingOp("wait", entry.name, of=entry, source=caller(), phase=self._phase(), issue_s=at)
        self.recording.entries.append(wait)
        return wait

    def wait_ends(self, entry: PendingOp, wait: PendingOp | None) -> None:
        """Record that the rank goes on. On a GPU this is when its stream goes on: the host did not block."""
        if self.recording is not None:
            at = self._now()
            entry.set_done(at)
            if wait is not None:
                wait.done_s = at
            self._go_on(at)
        self.show("computing")

    # ------------------------------------------------------------------ waits inside autograd
    def future_taken(self, entry: PendingOp, future: torch.futures.Future) -> None:
        """Record that the op's future will be waited for out of our sight: DDP waits for it at the end of backward.

        A future taken outside backward is not followed: blocking on it counts as compute.
        """
        if not in_backward():
            return
        backward = torch._C._current_graph_task_id()
        if backward not in self._backwards:
            self._backwards.add(backward)
            after_backward(lambda: self._backward_ended(backward))
        if self.recording is not None:
            self._for_autograd.append(entry)
        self._pending.append((entry, future))
        while self._pending and succeeded(self._pending[0][1]):  # a future holds the op's tensors
            self._pending.popleft()
        if self.waits_at_once and self._pending:
            self.show_awaited(tuple(self._pending))

    def _backward_ended(self, backward: int) -> None:
        # Queued before DDP's own last callback, which then blocks on these futures one after the other.
        self._backwards.discard(backward)
        taken, self._for_autograd = self._for_autograd, []
        pending = tuple((entry, future) for entry, future in self._pending if not succeeded(future))
        self._pending.clear()
        waits = []
        if self.recording is not None:
            at = self._now()
            self._compute_until(at)
            for entry in taken:
                wait = PendingOp("wait", entry.name, of=entry, source=entry.source, phase=entry.phase, issue_s=at)
                wait.inferred = True
                waits.append(wait)
            self.recording.entries += waits
        if pending and threading.current_thread() is threading.main_thread():
            self.show_awaited(pending)
        after_backward(lambda: self._backward_waited(waits, pending))

    def _backward_waited(self, waits: Sequence[PendingOp], pending: Awaited) -> None:
        # Queued during DDP's last callback, so it runs after it. Of a backward inside another one (checkpoints), DDP
        # may wait only at the end of the outer one.
        later = {entry: future for entry, future in pending if not future.done()}
        self._pending.extend(later.items())
        if self._awaited:
            self.show("computing")
        if self.recording is not None:
            at = self._now()
            for wait in waits:
                if wait.of in later:
                    self.recording.entries.remove(wait)
                    self._for_autograd.append(wait.of)
                else:
                    wait.of.set_done(at)
            self._compute_until(at)  # the time between the waits: DDP copies the sums back into the gradients

    # ------------------------------------------------------------------ the time between ops
    def _compute_until(self, at: Moment) -> None:
        """Record everything the rank did since its last op as its own compute."""
        self.recording.entries.append(Computing(self._phase(), self._cursor, at, self.recording.counted()))
        self._cursor = at

    def _go_on(self, at: Moment) -> None:
        """Account for the rank's time up to here: it was in an op."""
        self._cursor = at
        if self.recording.counter is not None:
            self.recording.counter.live.begin()

    def _phase(self) -> str:
        return self._phases[-1] if self._phases else ""

    def _read_stream(self) -> None:
        """Take moments from the GPU's stream from now on."""
        if self._stream is None:
            self._stream = StreamClock()
            self._now = self._stream.now

    # ------------------------------------------------------------------ phases and recordings
    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = self._now()
        if self.recording is not None:
            self._compute_until(start)
        self._phases.append(name)
        try:
            yield
        finally:
            if self.recording is not None:
                end = self._now()
                self._compute_until(end)
                self.recording.phases.append(Phase(self.rank, name, start, end))
            self._phases.pop()

    @contextmanager
    def record(self, count: bool = True, meet: Callable[[], None] | None = None) -> Iterator[Recording]:
        if self.recording is not None:
            raise RuntimeError("a recording is already under way on this rank; end it before starting another")
        if torch.cuda.is_initialized():
            self._read_stream()
        interval_s = sys.getswitchinterval()
        sys.setswitchinterval(min(interval_s, _SWITCH_S))
        recorded = Recording(counter=KernelCounter() if count else None)
        with recorded.counting():
            if meet is not None:
                meet()
                recorded.counted()
            self.recording = recorded
            self._cursor = begin = self._now()
            try:
                yield recorded
                recorded.finish(self.show)
            finally:
                self._compute_until(self._now())
                sys.setswitchinterval(interval_s)
                self.recording, self._for_autograd = None, []
                self._close(recorded, begin)

    def _close(self, recorded: Recording, begin: Moment) -> None:
        seconds = self._stream.seconds if self._stream is not None else float
        self._stream, self._now = None, host_now
        recorded.ops = to_ops(self.rank, recorded.entries, seconds)
        first_s = seconds(begin)
        recorded.phases = [
            replace(phase, start_s=max(first_s, seconds(phase.start_s)), end_s=seconds(phase.end_s))
            for phase in recorded.phases
        ]


recorder = Recorder()


def _delay_all_reduce(reducer: torch.distributed.Reducer) -> None:
    """Do what DDP does at the end of a static graph's first backward: send all gradients, and wait for them."""
    recorder.waits_at_once = True
    try:
        _delayed(reducer)
    finally:
        recorder.waits_at_once = False


_delayed = torch.distributed.Reducer._delay_all_reduce
torch.distributed.Reducer._delay_all_reduce = _delay_all_reduce


def phase(name: str) -> AbstractContextManager[None]:
    """`with phase("forward"): ...` names a stretch of this rank's time. Phases nest; an op belongs to the innermost."""
    return recorder.phase(name)


def recording(count: bool = True, meet: Callable[[], None] | None = None) -> AbstractContextManager[Recording]:
    """`with recording() as recorded: ...` records this rank's ops; `recorded.ops` is filled when the block ends.

    count   also count the kernels between the ops, as predictions need (some µs per kernel). Code compiled by
            torch.compile cannot be counted: RuntimeError, which suggests count=False
    meet    called when all is ready, and not recorded: a barrier lets all ranks begin together
    """
    return recorder.record(count, meet)
