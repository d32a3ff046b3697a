"""A model by layers on real ranks: equal to serial, one rank at work at a time, and bytes as the formula says."""

from __future__ import annotations

import re

import pytest
from layers_programs import (
    BATCH,
    BLOCK,
    CHANNELS,
    VOCABULARY,
    batches,
    by_layers,
    gpt,
    make,
    replicated,
    run,
    serial_of,
)

from lab_utils.ranks import RankError, Ranks
from lab_utils.strategies.model.layers import measured_costs
from lab_utils.strategies.parity import parity
from lab_utils.timeline import Trace
from lab_utils.timeline.hardware import Device, Hardware, Link

LINK = Link("a link", latency_s=1e-4, bytes_per_s=1e8)
FLOPS = Device("computes only", flops_per_s=1e9, memory_bytes_per_s=1e15)
HARDWARE = Hardware(FLOPS, LINK, algorithm="tree")
BOUNDARY = BATCH * BLOCK * CHANNELS * 8  # bytes of activations, float64


# ---------------------------------------------------------------------- parity
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_ten_steps_equal_serial(ranks4: Ranks, tied: bool) -> None:
    serial = serial_of(tied=tied)
    for ranks in (1, 2, 4):
        same = parity(serial, ranks4.run(by_layers, ranks, tied=tied), tolerance=1e-10)
        assert same.equal, f"{ranks} ranks: {same}"


@pytest.mark.parametrize(
    "how", [{"by_cost": True, "max_norm": 0.1}, {"again": True, "frozen": True}], ids=["by cost, clipped", "recomputed"]
)
def test_ten_steps_equal_serial_with(ranks4: Ranks, how: dict) -> None:
    serial = serial_of(**{name: how[name] for name in ("max_norm", "frozen") if name in how})
    for ranks in (2, 4):
        same = parity(serial, ranks4.run(by_layers, ranks, **how), tolerance=1e-10)
        assert same.equal, f"{ranks} ranks: {same}"


def test_two_replicas_equal_serial_on_both_their_batches(ranks4: Ranks) -> None:
    same = parity(serial_of(), ranks4.run(replicated), tolerance=1e-10)
    assert same.equal, same


# ---------------------------------------------------------------------- what is sent, and who waits
def recorded(ranks: Ranks, *made, **how) -> tuple[Trace, list[list[str]]]:
    names = ranks.run(make, *made, **how)
    return ranks.record(run), names


def test_activations_and_gradients_are_all_that_is_sent(ranks4: Ranks) -> None:
    trace, names = recorded(ranks4, "gpt", tied=False)
    sent = {(op.rank, op.peer): op.bytes for op in trace if op.kind == "send"}
    neighbours = [(0, 1), (1, 2), (2, 3), (1, 0), (2, 1), (3, 2)]
    assert sent == dict.fromkeys(neighbours, BOUNDARY)
    assert {op.name: op.bytes for op in trace if op.kind == "collective"} == {"broadcast": 8}, "and the loss"
    assert names[0][0] == "tokens.weight" and names[3][-1] == "head.weight"
    assert len(set(trace.results)) == 1


@pytest.mark.parametrize("size", [2, 4])
def test_ranks_are_idle_for_all_but_their_turn(size: int, request: pytest.FixtureRequest) -> None:
    """1 - 1/R of the makespan without the messages: exact, and for any cut, since one rank computes at a time."""
    ranks = request.getfixturevalue(f"ranks{size}")
    trace, _ = recorded(ranks, "wide")
    timeline = trace.timeline(HARDWARE)
    messages_s = 2 * (size - 1) * LINK.time_s(1, BATCH * CHANNELS * 8)
    loss_s = LINK.time_s(1, 8) * (size - 1).bit_length()  # a broadcast as a tree
    computing_s = sum(timeline.compute_by_rank_s)
    assert timeline.makespan_s == pytest.approx(computing_s + messages_s + loss_s, rel=1e-9)
    on_the_wire = (messages_s + loss_s) / timeline.makespan_s
    assert timeline.bubble_fraction == pytest.approx(1 - (1 - on_the_wire) / size, abs=1e-9)
    free = trace.timeline(Hardware(FLOPS, Link("no time", 0.0, 1e18), algorithm="tree"))
    assert free.bubble_fraction == pytest.approx(1 - 1 / size, abs=1e-9)


# ---------------------------------------------------------------------- where to cut
def test_costs_are_counted_the_same_on_all_ranks_and_tell_the_heavy_end(ranks2: Ranks) -> None:
    found = ranks2.run(costs_of)
    assert found[0] == found[1]
    costs, tokens = found[0], BATCH * BLOCK
    assert [cost[0] for cost in costs] == [
        "tokens + positions + dropout", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "norm + head"
    ]  # fmt: skip
    assert costs[0][1] == 0 and costs[-1][1] == 3 * 2 * tokens * CHANNELS * VOCABULARY
    linear = 3 * 2 * tokens * 12 * CHANNELS**2
    attention = (2 + 5) * 2 * BATCH * BLOCK**2 * CHANNELS  # products of heads: forward, and with one again backward
    assert [cost[1] for cost in costs[1:-1]] == [linear + attention] * 4
    assert all(cost[2] > 0 for cost in costs)


def costs_of():
    return [tuple(cost) for cost in measured_costs(gpt(), *next(batches()))]


def test_a_cut_by_cost_leaves_a_batch_as_slow_and_makes_a_pipeline_faster(ranks2: Ranks) -> None:
    """One rank computes at a time, whatever it holds; micro-batches wait for the slowest."""
    times: dict[tuple[bool, int], float] = {}
    first: dict[bool, int] = {}
    for by_cost in (False, True):
        for microbatches in (0, 3):
            trace, names = recorded(
                ranks2, "gpt", by_cost=by_cost, microbatches=microbatches, tied=False, vocabulary=960
            )
            times[by_cost, microbatches] = trace.timeline(HARDWARE).makespan_s
            first[by_cost] = len({name.split(".")[1] for name in names[0] if name.startswith("blocks")})
    assert first == {False: 2, True: 4}
    assert times[True, 0] == pytest.approx(times[False, 0], rel=1e-6)
    assert times[True, 3] < 0.9 * times[False, 3]


# ---------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"layers": 1}, "4 ranks need a layer each, and there are 3 to share: tokens + positions + dropout, blocks.0"),
        ({"costs": [1, 2]}, "2 costs for 6 units: one for each is needed"),
        ({"short": True}, "x has 4 samples and y 2: each sample needs its own y"),
        ({"runs": 0}, "runs=0: a median needs at least 1"),
        ({"two": True}, "2 tensors go to rank 1, and here one can: Pipeline sends several"),
    ],
)
def test_what_cannot_be_is_said(ranks4: Ranks, how: dict, said: str) -> None:
    with pytest.raises(RankError, match=re.escape(said)):
        ranks4.run(refused, **how)


def refused(layers: int = 4, costs=None, short: bool = False, runs: int | None = None, two: bool = False) -> None:
    from lab_utils.strategies.model.layers import ByLayers

    x, y = next(batches())
    if runs is not None:
        measured_costs(gpt(), x, y, runs=runs)
    model = gpt(layers=layers)
    if two:
        from torch import nn

        class Both(nn.Module):
            def forward(self, x):
                return (x, x) if not isinstance(x, tuple) else x

        model = [Both() for _ in range(4)]
    ByLayers(model, costs=costs).run(x, y[:2] if short else y)
