"""Message rounds and bytes of traces, against the formulas and against chains drawn by hand."""

from __future__ import annotations

from math import ceil, log2

import pytest
from timeline_samples import ddp, message, ring_all_reduce, trace, tree_all_reduce, wait

from lab_utils.timeline import bytes_sent, message_rounds


@pytest.mark.parametrize("ranks", range(2, 10))
def test_message_rounds_of_ring_and_tree(ranks: int) -> None:
    assert message_rounds(ring_all_reduce(ranks)) == message_rounds(ring_all_reduce(ranks, None)) == 2 * (ranks - 1)
    assert message_rounds(tree_all_reduce(ranks)) == 2 * ceil(log2(ranks))


def test_sends_issued_before_a_receive_is_waited_for_are_not_delayed_by_it() -> None:
    receive = message("recv", 0, 1, asynchronous=True)
    there, back = message("send", 0, 1), message("recv", 1, 0)
    other = [message("send", 1, 0, asynchronous=True), back, wait(1, 0, None, None)]
    assert message_rounds(trace([receive, there, wait(0, 0, None, None)], other)) == 1
    assert message_rounds(trace([receive, wait(0, 0, None, None), there], other)) == 2


def test_a_rank_takes_blocking_exchanges_one_at_a_time() -> None:
    gather = trace([message("recv", 0, peer) for peer in (1, 2, 3)], *([message("send", r, 0)] for r in (1, 2, 3)))
    assert message_rounds(gather) == 3
    together = [message("recv", 0, peer, asynchronous=True) for peer in (1, 2, 3)]
    waits = [wait(0, of, None, None) for of in range(3)]
    assert message_rounds(trace(together + waits, *gather.ops[1:])) == 1


def test_buffered_sends_on_both_sides_are_no_circle() -> None:
    both = trace([message("send", 0, 1), message("recv", 0, 1)], [message("send", 1, 0), message("recv", 1, 0)])
    assert message_rounds(both) == 2


def test_message_rounds_of_traces_without_a_chain() -> None:
    assert message_rounds(trace([], [])) == 0
    assert message_rounds(trace([], [message("recv", 1, 0), message("send", 1, 0)])) == 1
    circle = trace([message("recv", 0, 1), message("send", 0, 1)], [message("recv", 1, 0), message("send", 1, 0)], [])
    with pytest.raises(ValueError, match="ranks 0, 1 wait for each other"):
        message_rounds(circle)


def test_bytes_are_counted_a_rank() -> None:
    assert bytes_sent(ring_all_reduce(4)) == [6 * 2**18] * 4
    assert bytes_sent(ddp()) == [0] * 4
