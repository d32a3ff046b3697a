"""Ops per rank: what a trace records, the simulator places in time and exporters write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Kind = Literal["compute", "collective", "send", "recv", "wait"]
COMMUNICATION = ("collective", "send", "recv")


class Rise(NamedTuple):
    """Bytes that live tensors first held within a compute op: after which part of its time, and of its kernels."""

    time: float
    kernels: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Op:
    """One op of one rank, in the order in which the rank's own thread issued it.

    kind        compute | collective | send | recv | wait
    name        what the user would call it: "all_reduce", "send", "compute"
    group       name of the process group; `ranks` are its members as global ranks
    seq         n-th collective of its group, or n-th message from `rank` to `peer` (or back) with `tag`;
                collectives with equal (group, seq) are one collective, seen from each rank
    bytes       size of the tensors that this rank passes to the op; of what it receives where it passes none (recv,
                scatter); compute op: bytes read and written by its kernels with FLOPs
    flops       compute op: from the shapes of its kernels (a multiply-add is 2)
    other_bytes compute op: bytes read and written by its kernels without FLOPs
    kernels     compute op: number of kernels, without the uncounted
    uncounted   compute op: number of kernels whose work is unknown: those of some tensors cannot be counted
    live_bytes  compute op: bytes of the rank's live tensors at its end, None when not counted
    peak_bytes  compute op: peak of those bytes during the op
    rises       compute op: how those bytes rose from its start to that peak; () when that was not recorded
    stage       compute op of a pipeline: its stage; `microbatch` likewise
    peer, tag   the other rank (global) of a send or recv, and its tag
    run_as      collective: the one that the backend ran in its place, "" when it ran this one; `bytes` are this one's
    of          wait: index, in this rank's ops, of the asynchronous op that it waits for
    source      the caller's line: "train.py:41", "In [5]:3"
    phase       innermost named phase in which the op was issued
    issue_s     when the rank issued the op (seconds since the trace's start)
    wait_s      when the rank began to block on it; None when it never did
    done_s      when it completed
    """

    rank: int
    kind: Kind
    name: str
    group: str = ""
    ranks: tuple[int, ...] = ()
    seq: int = 0
    bytes: int = 0
    flops: int = 0
    peer: int | None = None
    tag: int = 0
    asynchronous: bool = False
    of: int | None = None
    source: str = ""
    phase: str = ""
    issue_s: float | None = None
    wait_s: float | None = None
    done_s: float | None = None
    other_bytes: int = 0
    kernels: int = 0
    stage: int | None = None
    microbatch: int | None = None
    live_bytes: int | None = None
    peak_bytes: int | None = None
    uncounted: int = 0
    run_as: str = ""
    rises: tuple[Rise, ...] = ()


@dataclass(frozen=True, slots=True)
class Phase:
    """A named interval of one rank's time: "forward", "aggregate". Phases may nest."""

    rank: int
    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True, repr=False)
class RankOps:
    """Ops and phases of every rank; `results` holds what the recorded function returned, in rank order.

    others   of a machine that was busy: cores that other processes took, and cores there are
    """

    ops: tuple[tuple[Op, ...], ...]
    phases: tuple[tuple[Phase, ...], ...] = ()
    results: list[Any] = field(default_factory=list, compare=False, repr=False)
    others: tuple[float, int] | None = field(default=None, compare=False)

    @property
    def world_size(self) -> int:
        return len(self.ops)

    def __iter__(self) -> Iterator[Op]:
        """Every op, rank by rank."""
        for rank_ops in self.ops:
            yield from rank_ops

    def collectives(self) -> dict[tuple[str, int], list[Op]]:
        """(group, seq) → the ops of that collective, one per rank."""
        found: dict[tuple[str, int], list[Op]] = {}
        for op in self:
            if op.kind == "collective":
                found.setdefault((op.group, op.seq), []).append(op)
        return found

    def messages(self) -> dict[tuple[int, int, int, str, int], dict[str, Op]]:
        """`message_key` → {"send": op, "recv": op}; either may be missing."""
        found: dict[tuple[int, int, int, str, int], dict[str, Op]] = {}
        for op in self:
            if op.kind in ("send", "recv"):
                found.setdefault(message_key(op), {})[op.kind] = op
        return found


def message_key(op: Op) -> tuple[int | None, int | None, int, str, int]:
    """(source rank, destination rank, tag, group, seq): equal for a send and the recv of its message."""
    source, destination = (op.rank, op.peer) if op.kind == "send" else (op.peer, op.rank)
    return source, destination, op.tag, op.group, op.seq


def waited_for(ops: Sequence[Op], wait: Op) -> Op | None:
    """The op in the rank's `ops` that `wait` waits for; None when it was issued before the trace began.

    ValueError when `of` is not the index of a communication op.
    """
    if wait.of is None:
        return None
    if not 0 <= wait.of < len(ops) or ops[wait.of].kind not in COMMUNICATION:
        raise ValueError(
            f"a wait of rank {wait.rank} is for op {wait.of}, which is no communication op "
            f"among the {len(ops)} ops of that rank"
        )
    return ops[wait.of]
