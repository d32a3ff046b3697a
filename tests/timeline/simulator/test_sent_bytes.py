"""Bytes on the wire of a trace, against the formulas of the algorithms and by hand."""

from __future__ import annotations

import pytest

from lab_utils.comm.algorithms import formulas
from lab_utils.timeline import Op, Trace
from lab_utils.timeline.simulator.sent_bytes import sent_bytes

MEMBERS = (0, 1, 2, 3)


def collective(rank: int, name: str, size: int, seq: int = 0) -> Op:
    return Op(rank, "collective", name, "world", MEMBERS, seq, bytes=size)


@pytest.mark.parametrize(("name", "gives"), [("all_reduce", 4000), ("reduce_scatter", 4000), ("all_gather", 1000)])
def test_collectives_are_rings(name: str, gives: int) -> None:
    trace = Trace(tuple((collective(rank, name, gives),) for rank in MEMBERS))
    assert sent_bytes(trace).tolist() == [formulas.ring(name, 4, rank, 1000, 4).bytes for rank in MEMBERS]


def test_a_message_counts_for_who_sends_it() -> None:
    send = Op(0, "send", "send", "world", bytes=700, peer=1)
    recv = Op(1, "recv", "recv", "world", bytes=700, peer=0)
    assert sent_bytes(Trace(((send,), (recv,)))).tolist() == [700, 0]


def test_ops_add_up_and_a_barrier_sends_nothing() -> None:
    names = [("all_to_all", 4000), ("barrier", 0), ("all_reduce", 800)]
    trace = Trace(tuple(tuple(collective(r, n, size, seq) for seq, (n, size) in enumerate(names)) for r in MEMBERS))
    assert sent_bytes(trace).tolist() == [3000 + 1200] * 4


def test_a_rank_without_ops_sends_nothing() -> None:
    assert sent_bytes(Trace(((), ()))).tolist() == [0, 0]
