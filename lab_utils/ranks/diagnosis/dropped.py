"""Finds a message that was let go of before it had passed, behind which gloo holds up all between its two ranks.

gloo passes a message on when both sides have been posted. Where the memory of one side is gone by then, because the
work that held it was dropped, gloo leaves it at the head of the line of that pair of ranks for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lab_utils.comm.status.rank_state import Dropped, IssuedOp, RankState

_OTHER_SIDE = {"send": "recv", "recv": "send", "": ""}
_BOTH_WAYS = {"all_reduce", "all_gather", "all_to_all", "barrier", "reduce_scatter"}


@dataclass(frozen=True, slots=True)
class Blocked:
    """Ranks in ops to which all have come, and the message that may hold these up.

    certain   it was dropped before its other side was posted, so that it has not passed, and they cannot do without
              the connection of its two ranks
    """

    ranks: tuple[int, ...]
    dropper: int
    op: IssuedOp
    certain: bool


def find_blocked(rank_states: Mapping[int, RankState], ranks: Iterable[int]) -> Blocked | None:
    """What may hold up these ranks, to whose ops all have come; the surest, then the first."""
    found = []
    for dropper, dropped, since_s in _dropped(rank_states):
        held = [rank for rank in sorted(ranks) if _is_behind(rank_states[rank].op, dropped.op)]
        if held:
            lost = since_s > dropped.at_s
            certain = lost and all(_needs(rank_states[rank].op, dropped.op, since_s, rank_states) for rank in held)
            found.append((not certain, not lost, Blocked(tuple(held), dropper, dropped.op, certain)))
    return min(found, key=lambda each: each[:2])[-1] if found else None


def _dropped(rank_states: Mapping[int, RankState]) -> Iterator[tuple[int, Dropped, float]]:
    """Messages that were dropped and whose other side was posted: by whom, and when that was."""
    for rank, rank_state in sorted(rank_states.items()):
        for dropped in rank_state.dropped:
            (other,) = {*dropped.op.stream.peers} - {rank}
            partner = _as_issued(dropped.op, _OTHER_SIDE[dropped.op.side], rank_states.get(other))
            if partner is not None:
                yield rank, dropped, partner.came_s


def _as_issued(op: IssuedOp, side: str, rank_state: RankState | None) -> IssuedOp | None:
    """The op as that rank has issued it, if it remembers."""
    issued = () if rank_state is None else rank_state.recent
    return next((each for each in issued if (each.stream, each.seq, each.side) == (op.stream, op.seq, side)), None)


def _concerned(op: IssuedOp) -> set[int]:
    return {*(op.stream.peers or op.ranks)}


def _is_behind(op: IssuedOp, dropped: IssuedOp) -> bool:
    """Whether an op came later, on the same group, and concerns both ranks of the message."""
    same_group = op.stream.group == dropped.stream.group
    return same_group and op.came_s > dropped.came_s and _concerned(dropped) <= _concerned(op)


def _needs(op: IssuedOp, lost: IssuedOp, since_s: float, rank_states: Mapping[int, RankState]) -> bool:
    """Whether the op cannot end without what its two ranks send each other since then.

    More than two may go another way; what goes one way only may have been under way.
    """
    if _concerned(op) != _concerned(lost):
        return False
    sides = {op.side, _OTHER_SIDE[op.side]}
    came = [_as_issued(op, side, rank_states.get(rank)) for rank in _concerned(op) for side in sides]
    came_s = [each.came_s for each in came if each is not None]
    return len(came_s) == 2 and (max(came_s) if op.name in _BOTH_WAYS else min(came_s)) > since_s
