"""Convert what a rank recorded to the ordered ops of a trace; compute too short to be its own is left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lab_utils.comm.recorder.pending_op import Computing, PendingOp
from lab_utils.timeline.ops import Op

if TYPE_CHECKING:
    from lab_utils.comm.recorder.clock import Moment

_SHORTEST_S = 1e-6  # shorter compute between two ops is only the recording itself


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
