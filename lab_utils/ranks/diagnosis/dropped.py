"""Finds a message whose work was dropped before it completed, which blocks all gloo traffic between its two ranks.

gloo transfers a message when both sides have been posted. If one side's buffer is freed by then, because the work that
held it was dropped, the message stays at the head of that pair's queue for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lab_utils.comm.status.rank_state import Dropped, IssuedOp, RankState

_OTHER_SIDE = {"send": "recv", "recv": "send", "": ""}
_BOTH_WAYS = {"all_reduce", "all_gather", "all_to_all", "barrier", "reduce_scatter"}


@dataclass(frozen=True, slots=True)
class Blocked:
    """Ranks in ops that all members have joined, and the dropped message that may block these ops.

    certain   it was dropped before its other side was posted, so it never completed, and the ops need the connection
              of its two ranks
    """

    ranks: tuple[int, ...]
    dropper: int
    op: IssuedOp
    certain: bool


def find_blocked(rank_states: Mapping[int, RankState], ranks: Iterable[int]) -> Blocked | None:
    """Return what may block these ranks, whose ops all members have joined; the surest, then the first."""
    found = []
    for dropper, dropped, since_s in _dropped(rank_states):
        held = [rank for rank in sorted(ranks) if _is_behind(rank_states[rank].op, dropped.op)]
        if held:
            lost = since_s > dropped.at_s
            certain = lost and all(_needs(rank_states[rank].op, dropped.op, since_s, rank_states) for rank in held)
            found.append((not certain, not lost, Blocked(tuple(held), dropper, dropped.op, certain)))
    return min(found, key=lambda each: each[:2])[-1] if found else None


def _dropped(rank_states: Mapping[int, RankState]) -> Iterator[tuple[int, Dropped, float]]:
    """Yield (rank that dropped it, message, time its other side was posted) of dropped messages with both sides."""
    for rank, rank_state in sorted(rank_states.items()):
        for dropped in rank_state.dropped:
            (other,) = {*dropped.op.stream.peers} - {rank}
            partner = _as_issued(dropped.op, _OTHER_SIDE[dropped.op.side], rank_states.get(other))
            if partner is not None:
                yield rank, dropped, partner.came_s


def _as_issued(op: IssuedOp, side: str, rank_state: RankState | None) -> IssuedOp | None:
    """Return the op as that rank issued it, None if it is no longer recorded."""
    issued = () if rank_state is None else rank_state.recent
    return next((each for each in issued if (each.stream, each.seq, each.side) == (op.stream, op.seq, side)), None)


def _concerned(op: IssuedOp) -> set[int]:
    return {*(op.stream.peers or op.ranks)}


def _is_behind(op: IssuedOp, dropped: IssuedOp) -> bool:
    """Whether an op was issued later, on the same group, and involves both ranks of the message."""
    same_group = op.stream.group == dropped.stream.group
    return same_group and op.came_s > dropped.came_s and _concerned(dropped) <= _concerned(op)


def _needs(op: IssuedOp, lost: IssuedOp, since_s: float, rank_states: Mapping[int, RankState]) -> bool:
    """Whether the op cannot complete without data that its two ranks send each other after that time.

    With more than two ranks, data may take another route; one-way data may already have been in flight.
    """
    if _concerned(op) != _concerned(lost):
        return False
    sides = {op.side, _OTHER_SIDE[op.side]}
    came = [_as_issued(op, side, rank_states.get(rank)) for rank in _concerned(op) for side in sides]
    came_s = [each.came_s for each in came if each is not None]
    return len(came_s) == 2 and (max(came_s) if op.name in _BOTH_WAYS else min(came_s)) > since_s
