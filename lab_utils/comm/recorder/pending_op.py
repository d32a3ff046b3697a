"""Ops as recorded while a rank runs, and their conversion to the ordered ops of a trace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from lab_utils.timeline.ops import Op, Rise

if TYPE_CHECKING:
    from lab_utils.comm.recorder.clock import Moment
    from lab_utils.comm.status.rank_state import Channel

_SHORTEST_S = 1e-6  # shorter compute between two ops is only the recording itself


class Counts(NamedTuple):
    """What kernels did in a stretch of compute.

    bytes, other_bytes       read and written by kernels that have FLOPs, and by the others
    live_bytes, peak_bytes   held by live tensors at its end, and at most; None when not counted
    uncounted                kernels whose work is unknown
    rises                    how the live bytes rose to their peak
    """

    flops: int = 0
    bytes: int = 0
    other_bytes: int = 0
    kernels: int = 0
    live_bytes: int | None = None
    peak_bytes: int | None = None
    uncounted: int = 0
    rises: tuple[Rise, ...] = ()


NOTHING = Counts()


@dataclass(slots=True, eq=False)
class PendingOp:
    """An op being recorded; becomes an `Op` when the recording ends.

    asynchronous    the caller asked for it, or did not say and has not waited inside c10d
    on_device       its tensors are on a GPU, so a stream determines when it is done
    inferred        a wait inside autograd; whether and how long it blocked is inferred from its op
    channel         what numbers the op; None for a wait
    run_as          the collective that runs in its place, "" when it runs itself
    signature       what must match on all participating ranks
    came_s          when the rank reached it, recorded or not
    """

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
    on_device: bool = False
    channel: Channel | None = None
    run_as: str = ""
    signature: str = ""
    of: PendingOp | None = None
    inferred: bool = False
    source: str = ""
    came_s: float = 0.0
    phase: str = ""
    issue_s: Moment = 0.0
    wait_s: Moment | None = None
    done_s: Moment | None = None
    counts: Counts = NOTHING

    def set_done(self, at: Moment) -> None:
        """Set the completion time once: the rank's own thread or a backend thread may be first."""
        if self.done_s is None:
            self.done_s = at


class Computing(NamedTuple):
    """The compute between two ops; created once per op, so kept small."""

    phase: str
    issue_s: Moment
    done_s: Moment
    counts: Counts


def to_ops(rank: int, entries: list[PendingOp | Computing], seconds: Callable[[Moment], float]) -> list[Op]:
    """Convert entries to ops of `rank`. `seconds` converts a moment of the recording's clock."""
    entries = [_entry(entry) if isinstance(entry, Computing) else entry for entry in entries]
    for entry in entries:
        entry.issue_s = seconds(entry.issue_s)
        entry.wait_s = None if entry.wait_s is None else seconds(entry.wait_s)
        entry.done_s = None if entry.done_s is None else seconds(entry.done_s)
    kept = _in_turn(entries)
    index = {id(entry): i for i, entry in enumerate(kept)}
    return [_to_op(rank, entry, index) for entry in kept]


def _entry(computing: Computing) -> PendingOp:
    phase, issue_s, done_s, counts = computing
    return PendingOp(
        "compute", "compute", bytes=counts.bytes, phase=phase, issue_s=issue_s, done_s=done_s, counts=counts
    )


def _in_turn(entries: list[PendingOp]) -> list[PendingOp]:
    """Make compute and waits consecutive: each starts no earlier than the previous one ended.

    Compute without length or kernels is left out. A wait inside autograd that did not block stays, with zero length:
    had its op taken longer, it would have blocked.
    """
    free_s = float("-inf")
    kept = []
    for entry in entries:
        if entry.kind not in ("compute", "wait"):
            if entry.done_s is not None:  # two threads read the clock: never done before it was issued
                entry.done_s = max(entry.done_s, entry.issue_s)
            kept.append(entry)
            continue
        entry.issue_s = max(entry.issue_s, free_s)
        if entry.inferred:
            _infer(entry)
        if entry.done_s is not None:
            if _is_empty(entry):
                continue
            entry.done_s = free_s = max(entry.done_s, entry.issue_s)
        kept.append(entry)
    return kept


def _infer(wait: PendingOp) -> None:
    """Infer how long a wait inside autograd lasted: until its op was done, or not at all."""
    op = wait.of
    blocked = op.done_s is not None and op.done_s - wait.issue_s > _SHORTEST_S
    wait.done_s = op.done_s if blocked else wait.issue_s
    if blocked and op.wait_s is None:
        op.wait_s = wait.issue_s


def _is_empty(entry: PendingOp) -> bool:
    short = entry.done_s - entry.issue_s <= _SHORTEST_S
    return short and entry.kind == "compute" and not (entry.counts.kernels or entry.counts.uncounted)


def _to_op(rank: int, entry: PendingOp, index: dict[int, int]) -> Op:
    return Op(
        rank, entry.kind, entry.name, entry.group, entry.ranks, entry.seq, entry.bytes,
        peer=entry.peer, tag=entry.tag, asynchronous=entry.asynchronous and entry.kind not in ("compute", "wait"),
        of=None if entry.of is None else index.get(id(entry.of)), source=entry.source, phase=entry.phase,
        issue_s=entry.issue_s, wait_s=entry.wait_s, done_s=entry.done_s, flops=entry.counts.flops,
        other_bytes=entry.counts.other_bytes, kernels=entry.counts.kernels,
        live_bytes=entry.counts.live_bytes, peak_bytes=entry.counts.peak_bytes,
        uncounted=entry.counts.uncounted, run_as=entry.run_as, rises=entry.counts.rises,
    )  # fmt: skip
