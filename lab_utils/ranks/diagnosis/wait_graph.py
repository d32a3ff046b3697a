"""Which ranks wait for which, from the ranks' states, and which can never go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lab_utils.comm.status.rank_state import ANY_SOURCE, IssuedOp, RankState, Stream


# ---------------------------------------------------------------------- mismatched ops
@dataclass(frozen=True, slots=True)
class Mismatched:
    """One op as each rank issued it, and the ranks that differ from the majority."""

    ops: dict[int, IssuedOp]
    odd: tuple[int, ...]
    names_differ: bool


def find_mismatch(rank_states: Mapping[int, RankState], waiting: Mapping[int, RankState]) -> Mismatched | None:
    """Return the first mismatched op of a stream in which a rank waits, or None."""
    for stream in sorted({rank_state.op.stream for rank_state in waiting.values()}):
        issued = _issued(stream, rank_states)
        for seq in sorted(issued):
            ops = issued[seq]
            if len({_brought(op) for op in ops.values()}) > 1:
                return Mismatched(ops, _odd(ops), not stream.peers and len({op.name for op in ops.values()}) > 1)
    return None


def _issued(stream: Stream, rank_states: Mapping[int, RankState]) -> dict[int, dict[int, IssuedOp]]:
    """Return {number: {rank: op}} of the stream, as far back as ranks have recorded."""
    found: dict[int, dict[int, IssuedOp]] = {}
    for rank, rank_state in rank_states.items():
        for op in (*rank_state.recent, *((rank_state.op,) if rank_state.op is not None else ())):
            if op.stream == stream:
                found.setdefault(op.seq, {})[rank] = op
    return found


def _brought(op: IssuedOp) -> tuple[str, str]:
    """Return what must be equal on all ranks; a message's two sides have different names."""
    return "" if op.stream.peers else op.name, op.signature


def _odd(ops: Mapping[int, IssuedOp]) -> tuple[int, ...]:
    """Return the ranks outside the largest groups of equal ops; all ranks when no group is smaller."""
    sides: dict[tuple[str, str], list[int]] = {}
    for rank, op in ops.items():
        sides.setdefault(_brought(op), []).append(rank)
    most = max(len(ranks) for ranks in sides.values())
    fewer = sorted(rank for ranks in sides.values() if len(ranks) < most for rank in ranks)
    return tuple(fewer or sorted(ops))


NEVER = {"returned", "absent", "dead", "raised"}  # fates after which a rank issues nothing more in this call


def awaited(rank_state: RankState, rank_states: Mapping[int, RankState]) -> set[int]:
    """Return ranks that have not joined the op that this rank is in; empty when it is in none, or all have.

    A rank whose state is unknown has not joined.
    """
    op = rank_state.op
    if op is None:
        return set()
    if ANY_SOURCE in op.stream.peers:
        return set() if _has_letter(rank_state, rank_states) else set(op.ranks) - {rank_state.rank}
    partners = op.stream.peers or op.ranks
    return {rank for rank in partners if rank != rank_state.rank and not _came(op, rank_states.get(rank))}


def _came(op: IssuedOp, other: RankState | None) -> bool:
    if other is None:
        return False
    other_side = {"send": "recv", "recv": "send", "": ""}[op.side]
    if other.issued.get((op.stream, other_side), 0) > op.seq:
        return True
    # A receive from any source takes a message without belonging to this stream.
    return op.side == "send" and _takes_from_any(op, other)


def _takes_from_any(op: IssuedOp, other: RankState) -> bool:
    return any(
        side == "recv" and ANY_SOURCE in stream.peers and (stream.group, stream.tag) == (op.stream.group, op.stream.tag)
        for stream, side in other.issued
    )


def _has_letter(receiver: RankState, rank_states: Mapping[int, RankState]) -> bool:
    """Whether a member has sent more than was received from it, so that this receive can complete."""
    stream = receiver.op.stream
    for member in rank_states.keys() & set(receiver.op.ranks):
        letters = stream._replace(peers=(member, receiver.rank))
        if rank_states[member].issued.get((letters, "send"), 0) > receiver.issued.get((letters, "recv"), 0):
            return True
    return False


def hopeless(rank_states: Mapping[int, RankState], fates: Mapping[int, str]) -> set[int]:
    """Return ranks in an op that can never complete: they wait for each other, or for ranks that ended.

    A rank may go on when it computes, when several of its threads issue ops, or when all ranks that it waits for may
    go on; a receive from any source needs only one of the others. A rank that gave no answer may go on: it may have
    joined already.
    """
    ranks = rank_states.keys() | fates.keys() | _members(rank_states)
    may_go_on = {rank for rank in ranks if _free(rank_states.get(rank), fates.get(rank))}
    stuck = {rank for rank in ranks - may_go_on if fates.get(rank) not in NEVER}
    while freed := {rank for rank in stuck if _can_go_on(rank_states[rank], rank_states, may_go_on)}:
        may_go_on |= freed
        stuck -= freed
    return stuck


def has_ended(rank: int, rank_states: Mapping[int, RankState], fates: Mapping[int, str]) -> bool:
    """Whether a rank issues no further ops, and those it has issued are known."""
    return fates.get(rank) in NEVER and not _free(rank_states.get(rank), fates[rank])


def _members(rank_states: Mapping[int, RankState]) -> set[int]:
    return {rank for rank_state in rank_states.values() if rank_state.op for rank in rank_state.op.ranks}


def _free(rank_state: RankState | None, fate: str | None) -> bool:
    """Whether a rank may issue further ops, or may have issued them, without waiting for another rank."""
    if rank_state is None or rank_state.threads or fate in ("silent", "stopped"):
        return True
    return rank_state.op is None and fate not in NEVER


def _can_go_on(rank_state: RankState, rank_states: Mapping[int, RankState], may_go_on: set[int]) -> bool:
    missing = awaited(rank_state, rank_states)
    if missing and ANY_SOURCE in rank_state.op.stream.peers:
        return bool(missing & may_go_on)
    return missing <= may_go_on
