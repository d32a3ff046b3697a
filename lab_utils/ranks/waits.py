"""Who waits for whom, from where ranks stand, and who can never go on."""

from __future__ import annotations

from collections.abc import Mapping

from lab_utils.comm.standing import ANY_SOURCE, IssuedOp, Standing

NEVER = {"returned", "absent", "dead", "raised"}  # fates after which a rank issues nothing more in this call


def awaited(standing: Standing, standings: Mapping[int, Standing]) -> set[int]:
    """Ranks that have not come yet to the op that this rank is in; empty when it is in none, or all have.

    A rank of which no standing is known has not come.
    """
    op = standing.op
    if op is None:
        return set()
    if ANY_SOURCE in op.stream.peers:
        return set() if _has_letter(op, standings) else set(op.ranks) - {standing.rank}
    partners = op.stream.peers or op.ranks
    return {rank for rank in partners if rank != standing.rank and not _came(op, standings.get(rank))}


def _came(op: IssuedOp, other: Standing | None) -> bool:
    if other is None:
        return False
    other_side = {"send": "recv", "recv": "send", "": ""}[op.side]
    if other.issued.get((op.stream, other_side), 0) > op.seq:
        return True
    # A receive from whoever comes first takes a message without being one of this stream.
    return op.side == "send" and _takes_from_any(op, other)


def _takes_from_any(op: IssuedOp, other: Standing) -> bool:
    return any(
        side == "recv" and ANY_SOURCE in stream.peers and (stream.group, stream.tag) == (op.stream.group, op.stream.tag)
        for stream, side in other.issued
    )


def _has_letter(op: IssuedOp, standings: Mapping[int, Standing]) -> bool:
    """Whether any member has sent something that this receive may take."""
    receiver = op.stream.peers[1]
    return any(
        side == "send"
        and (stream.group, stream.tag) == (op.stream.group, op.stream.tag)
        and stream.peers[1] == receiver
        for standing in standings.values()
        for stream, side in standing.issued
    )


def hopeless(standings: Mapping[int, Standing], fates: Mapping[int, str]) -> set[int]:
    """Ranks in an op that can never end, however the others go on: they wait for each other, or for ranks that ended.

    A rank may go on when it computes, when ops come from several of its threads, or when all that it waits for may go
    on; a receive from any source needs one of the others only. Of a rank that gave no answer nothing is held against
    it: it may have come already.
    """
    may_go_on = {
        rank
        for rank in standings.keys() | fates.keys() | _members(standings)
        if rank not in standings or (fates.get(rank) not in NEVER and _free(standings[rank]))
    }
    stuck = {rank for rank in standings if rank not in may_go_on and fates.get(rank) not in NEVER}
    while freed := {rank for rank in stuck if _can_go_on(standings[rank], standings, may_go_on)}:
        may_go_on |= freed
        stuck -= freed
    return stuck


def _members(standings: Mapping[int, Standing]) -> set[int]:
    return {rank for standing in standings.values() if standing.op for rank in standing.op.ranks}


def _free(standing: Standing) -> bool:
    return standing.op is None or standing.threads


def _can_go_on(standing: Standing, standings: Mapping[int, Standing], may_go_on: set[int]) -> bool:
    missing = awaited(standing, standings)
    if missing and ANY_SOURCE in standing.op.stream.peers:
        return bool(missing & may_go_on)
    return missing <= may_go_on
