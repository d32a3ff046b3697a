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
        return set() if _has_letter(standing, standings) else set(op.ranks) - {standing.rank}
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


def _has_letter(receiver: Standing, standings: Mapping[int, Standing]) -> bool:
    """Whether any member has sent more than was received from it: one of those this receive may take."""
    stream = receiver.op.stream
    for member in standings.keys() & set(receiver.op.ranks):
        letters = stream._replace(peers=(member, receiver.rank))
        if standings[member].issued.get((letters, "send"), 0) > receiver.issued.get((letters, "recv"), 0):
            return True
    return False


def hopeless(standings: Mapping[int, Standing], fates: Mapping[int, str]) -> set[int]:
    """Ranks in an op that can never end, however the others go on: they wait for each other, or for ranks that ended.

    A rank may go on when it computes, when ops come from several of its threads, or when all that it waits for may go
    on; a receive from any source needs one of the others only. Of a rank that gave no answer nothing is held against
    it: it may have come already.
    """
    ranks = standings.keys() | fates.keys() | _members(standings)
    may_go_on = {rank for rank in ranks if _free(standings.get(rank), fates.get(rank))}
    stuck = {rank for rank in ranks - may_go_on if fates.get(rank) not in NEVER}
    while freed := {rank for rank in stuck if _can_go_on(standings[rank], standings, may_go_on)}:
        may_go_on |= freed
        stuck -= freed
    return stuck


def has_ended(rank: int, standings: Mapping[int, Standing], fates: Mapping[int, str]) -> bool:
    """Whether a rank comes to no further ops, and what it has come to is known."""
    return fates.get(rank) in NEVER and not _free(standings.get(rank), fates[rank])


def _members(standings: Mapping[int, Standing]) -> set[int]:
    return {rank for standing in standings.values() if standing.op for rank in standing.op.ranks}


def _free(standing: Standing | None, fate: str | None) -> bool:
    """Whether a rank may come to further ops, or has perhaps come to them, without any other's doing."""
    if standing is None or standing.threads or fate in ("silent", "stopped"):
        return True
    return standing.op is None and fate not in NEVER


def _can_go_on(standing: Standing, standings: Mapping[int, Standing], may_go_on: set[int]) -> bool:
    missing = awaited(standing, standings)
    if missing and ANY_SOURCE in standing.op.stream.peers:
        return bool(missing & may_go_on)
    return missing <= may_go_on
