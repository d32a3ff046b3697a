"""Traces with known times, made by arithmetic: what a recorded run of the same program would hold."""

from __future__ import annotations

from collections.abc import Sequence

from lab_utils.timeline import Op, Phase, Trace

MS = 1e-3


def trace(*ranks: Sequence[Op]) -> Trace:
    """A trace without phases: the ops of each rank."""
    return Trace(tuple(tuple(ops) for ops in ranks))


def compute(rank: int, start_s: float, end_s: float, **more: object) -> Op:
    return Op(rank, "compute", "compute", issue_s=start_s, done_s=end_s, **more)


def all_reduce(
    rank: int, seq: int, issue_s: float, wait_s: float | None, done_s: float, ranks=(0, 1), **more: object
) -> Op:
    return Op(
        rank, "collective", "all_reduce", "world", tuple(ranks), seq, issue_s=issue_s, wait_s=wait_s,
        done_s=done_s, **more,
    )  # fmt: skip


def wait(rank: int, of: int, start_s: float, end_s: float, **more: object) -> Op:
    return Op(rank, "wait", "wait", of=of, issue_s=start_s, done_s=end_s, **more)


def message(kind: str, rank: int, peer: int, seq: int = 0, times: tuple = (None, None, None), **more: object) -> Op:
    issue_s, wait_s, done_s = times
    return Op(rank, kind, kind, peer=peer, seq=seq, issue_s=issue_s, wait_s=wait_s, done_s=done_s, **more)


def ddp(ranks: int = 4, buckets: int = 3, steps: int = 1) -> Trace:
    """Data parallel: backward issues an all-reduce a bucket, on one shared wire; rank r is 4r % slower."""
    ops: list[list[Op]] = [[] for _ in range(ranks)]
    phases: list[list[Phase]] = [[] for _ in range(ranks)]
    now = [0.0] * ranks
    for step in range(steps):
        _ddp_step(ops, phases, now, buckets, step)
    return Trace(tuple(map(tuple, ops)), tuple(map(tuple, phases)))


def _ddp_step(ops, phases, now, buckets, step) -> None:
    members = tuple(range(len(ops)))
    slow = [1 + 0.04 * rank for rank in members]
    begin = list(now)
    issued = []
    for rank in members:
        forward_s = 4 * MS * slow[rank]
        ops[rank].append(compute(rank, now[rank], now[rank] + forward_s, phase="forward"))
        phases[rank].append(Phase(rank, "forward", begin[rank], now[rank] + forward_s))
        times = [now[rank] + forward_s + (k + 1) * 2.6 * MS * slow[rank] for k in range(buckets)]
        issued.append(times)
        now[rank] += forward_s
    free_s, done = 0.0, []
    for bucket in range(buckets):
        free_s = max(free_s, *(times[bucket] for times in issued)) + 3.1 * MS
        done.append(free_s)
    for rank in members:
        _ddp_backward(ops[rank], phases[rank], rank, members, issued[rank], done, now, step)


def _ddp_backward(ops, phases, rank, members, issued, done, now, step) -> None:
    start_s, places = now[rank], []
    for bucket, issue_s in enumerate(issued):
        ops.append(compute(rank, now[rank], issue_s, phase="backward", source="model.py:88"))
        places.append(len(ops))
        seq = step * len(issued) + bucket
        blocks_s = max(issued[-1], done[bucket - 1] if bucket else 0.0)
        ops.append(
            all_reduce(
                rank, seq, issue_s, blocks_s, done[bucket], members,
                asynchronous=True, phase="backward", bytes=25 << 20, source="train.py:41",
            )
        )  # fmt: skip
        now[rank] = issue_s
    for place, done_s in zip(places, done, strict=True):
        freed_s = max(now[rank], done_s)
        ops.append(wait(rank, place, now[rank], freed_s, phase="aggregate", source="train.py:47"))
        now[rank] = freed_s
    phases += [Phase(rank, "backward", start_s, issued[-1]), Phase(rank, "aggregate", issued[-1], now[rank])]
    ops.append(compute(rank, now[rank], now[rank] + 1.4 * MS, phase="update"))
    phases.append(Phase(rank, "update", now[rank], now[rank] + 1.4 * MS))
    now[rank] += 1.4 * MS


def ring_all_reduce(ranks: int, round_s: float | None = 250e-6, late_s: float = 120e-6) -> Trace:
    """2(n-1) rounds of isend, recv, wait, add; rank 0 comes late. round_s=None leaves the times out."""
    ops: list[list[Op]] = [[] for _ in range(ranks)]
    timed = round_s is not None
    now = [late_s if rank == 0 and timed else 0.0 for rank in range(ranks)]
    for k in range(2 * (ranks - 1)):
        came = list(now)
        for rank, mine in enumerate(ops):
            right, left = (rank + 1) % ranks, (rank - 1) % ranks
            done_s = max(came[rank], came[left]) + round_s if timed else None
            sent_s = max(came[rank], came[right]) + round_s if timed else None
            at_s = came[rank] if timed else None
            sent = (at_s, None, sent_s)
            mine.append(message("send", rank, right, k, sent, asynchronous=True, bytes=1 << 18))
            mine.append(message("recv", rank, left, k, (at_s, at_s, done_s), bytes=1 << 18))
            freed_s = max(done_s, sent_s) if timed else None
            mine.append(wait(rank, len(mine) - 2, done_s, freed_s))
            if timed:
                mine.append(compute(rank, freed_s, freed_s + 0.2 * round_s * (1 + rank % 3)))
                now[rank] = mine[-1].done_s
    return Trace(tuple(map(tuple, ops)))


def tree_all_reduce(ranks: int) -> Trace:
    """Binomial tree without times: reduce to rank 0, then broadcast from it."""
    ops: list[list[Op]] = [[] for _ in range(ranks)]
    spans = [1 << k for k in range((ranks - 1).bit_length())]
    for span in spans:
        for rank in range(span, ranks, 2 * span):
            ops[rank].append(message("send", rank, rank - span))
            ops[rank - span].append(message("recv", rank - span, rank))
    for span in reversed(spans):
        for rank in range(span, ranks, 2 * span):
            ops[rank - span].append(message("send", rank - span, rank, 1))
            ops[rank].append(message("recv", rank, rank - span, 1))
    return Trace(tuple(map(tuple, ops)))
