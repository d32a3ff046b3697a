"""Finds two ranks that brought different things to the same op."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lab_utils.comm.standing import IssuedOp, Standing, Stream


@dataclass(frozen=True, slots=True)
class Mismatched:
    """One op as each rank issued it, and who differs from the most."""

    ops: dict[int, IssuedOp]
    odd: tuple[int, ...]
    names_differ: bool


def find_mismatch(standings: Mapping[int, Standing], waiting: Mapping[int, Standing]) -> Mismatched | None:
    """The first op of a stream in which somebody waits, to which ranks brought different things."""
    for stream in sorted({standing.op.stream for standing in waiting.values()}):
        issued = _issued(stream, standings)
        for seq in sorted(issued):
            ops = issued[seq]
            if len({_brought(op) for op in ops.values()}) > 1:
                return Mismatched(ops, _odd(ops), not stream.peers and len({op.name for op in ops.values()}) > 1)
    return None


def _issued(stream: Stream, standings: Mapping[int, Standing]) -> dict[int, dict[int, IssuedOp]]:
    """{number: {rank: op}} of the stream, as far back as ranks remember."""
    found: dict[int, dict[int, IssuedOp]] = {}
    for rank, standing in standings.items():
        for op in (*standing.recent, *((standing.op,) if standing.op is not None else ())):
            if op.stream == stream:
                found.setdefault(op.seq, {})[rank] = op
    return found


def _brought(op: IssuedOp) -> tuple[str, str]:
    """What has to be alike; the two sides of a message have different names."""
    return "" if op.stream.peers else op.name, op.signature


def _odd(ops: Mapping[int, IssuedOp]) -> tuple[int, ...]:
    """Those that brought what fewest brought; all of them when no side is smaller."""
    sides: dict[tuple[str, str], list[int]] = {}
    for rank, op in ops.items():
        sides.setdefault(_brought(op), []).append(rank)
    most = max(len(ranks) for ranks in sides.values())
    fewer = sorted(rank for ranks in sides.values() if len(ranks) < most for rank in ranks)
    return tuple(fewer or sorted(ops))
