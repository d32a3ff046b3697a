"""When tensor parallel stops paying: a recorded layer scales exactly, and its crossing is where arithmetic has it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from lab_utils.ranks import Ranks
from lab_utils.strategies.model.paying import Paying, ScaledLayer, Sizes, record_layer
from lab_utils.strategies.model.paying.recorded import MORE, SIZES, name_of, part_of, run_layers
from lab_utils.timeline import Op, Trace
from lab_utils.timeline.hardware import Device, Hardware, Link, catalogue

REAL = Sizes(4096, 8192, 64)
SLOW = Hardware(Device("a device", 100e12, 1e12), Link("a link", 0.0, 10e9), algorithm="ring")


@pytest.fixture(scope="module")
def layers(ranks4: Ranks) -> dict[int, ScaledLayer]:
    return {tp: record_layer(ranks4, tp) for tp in (1, 2, 4)}


# ---------------------------------------------------------------------- recorded and scaled
@pytest.mark.parametrize("tp", [1, 2, 4])
def test_flops_and_bytes_of_a_real_layer_are_the_formulas(layers: dict[int, ScaledLayer], tp: int) -> None:
    tokens, channels, _ = REAL
    trace = layers[tp].at(REAL)
    for ops in trace.ops:
        matrices, attention = 72 * tokens * channels**2, 14 * tokens**2 * channels
        assert sum(op.flops for op in ops) == (matrices + attention) // tp
        sums = [op.bytes for op in ops if op.kind == "collective"]
        assert sums == [2 * tokens * channels] * (4 if tp > 1 else 0)


def test_sequence_parallel_scales_too_and_sends_a_quarter_more(ranks4: Ranks, layers: dict[int, ScaledLayer]) -> None:
    """10 halves of an all-reduce where tp alone has 8: tensor_parallel/wire.py."""
    times = [
        Paying({1: layers[1], 4: each}).point(4, 8192, SLOW)
        for each in (layers[4], record_layer(ranks4, 4, sequence=True))
    ]
    assert times[1].exposed_s > times[0].exposed_s
    assert times[1].compute_s < times[0].compute_s, "norms and residual are of T/n tokens"


def test_a_scaled_trace_of_recorded_sizes_is_the_recording(ranks2: Ranks) -> None:
    sizes = [*SIZES, *MORE]
    trace = ranks2.record(run_layers, 2, False, sizes)
    layer = ScaledLayer.from_recordings({each: part_of(trace, name_of(each)) for each in sizes})
    again, other = layer.at(sizes[-1]).timeline(SLOW), part_of(trace, name_of(sizes[-1])).timeline(SLOW)
    assert again.makespan_s == other.makespan_s and again.exposed_comm_by_rank_s == other.exposed_comm_by_rank_s


# ---------------------------------------------------------------------- where it stops
def test_communication_overtakes_where_arithmetic_says(layers: dict[int, ScaledLayer]) -> None:
    """Of matrices alone: 72·T·C²/(n·F) against 8·(n-1)/n·T·C·2/W. The rest makes computing longer, the width less."""
    paying = Paying(layers)
    for tp in (2, 4):
        found = paying.overtakes(tp, SLOW)
        assert found % (128 * tp) == 0
        by_hand = 16 * (tp - 1) * 100e12 / (72 * 10e9)
        assert 0.4 * by_hand < found < by_hand
        before, at = (paying.point(tp, found - less, SLOW) for less in (128 * tp, 0))
        assert before.share > before.compute_s / before.layer_s and at.exposed_s <= at.compute_s


def test_a_slower_link_and_more_ranks_need_more_width(layers: dict[int, ScaledLayer]) -> None:
    paying = Paying(layers)
    widths = [paying.overtakes(4, SLOW.with_link(bytes_per_s=speed)) for speed in (100e9, 20e9, 10e9)]
    assert widths == sorted(widths) and len(set(widths)) == 3
    assert paying.overtakes(4, SLOW) > paying.overtakes(2, SLOW)
    assert paying.overtakes(2, SLOW.with_link(bytes_per_s=1e6)) is None


def test_what_is_shown(layers: dict[int, ScaledLayer]) -> None:
    paying = Paying(layers)
    node, apart = catalogue["H100 node"], catalogue["A100 machines of one GPU"]
    head, *rows = repr(paying.table({"in a node": node, "apart": apart}, channels=4096)).splitlines()
    assert head.split("  ")[0] == "hardware" and "layer of 4,096" in head
    assert ["all up to 65,536" in row for row in rows] == [False, False, False, True]
    faster = [float(row.split()[-1]) for row in rows]
    assert 1 < faster[0] < faster[1] and 1 > faster[2] > faster[3]
    picture = paying.picture(node)
    assert repr(picture).splitlines()[0] == f"Exposed communication of a layer on {node.name}, in % of the layer's time"
    assert picture._repr_mimebundle_() == paying.picture(node)._repr_mimebundle_()


# ---------------------------------------------------------------------- errors
def of(sizes: Sizes, **changes) -> Trace:
    op = Op(0, "compute", "compute", flops=sizes.tokens * sizes.channels**2, kernels=3)
    return Trace(((replace(op, **changes),),))


def test_what_does_not_scale_is_said() -> None:
    sizes = [*SIZES, *MORE]
    right = {each: of(each) for each in sizes}
    assert ScaledLayer.from_recordings(right).at(REAL).ops[0][0].flops == 4096 * 8192**2
    cubic = {each: of(each, flops=each.channels**3) for each in sizes}
    with pytest.raises(ValueError, match=r"flops of compute .* this layer does not scale as its sizes' monomials"):
        ScaledLayer.from_recordings(cubic)
    with pytest.raises(ValueError, match="8 recordings tell 8 of 9 monomials apart: record more sizes"):
        ScaledLayer.from_recordings({each: right[each] for each in sizes[:8]})
    with pytest.raises(ValueError, match="the ranks ran other ops at some of the sizes"):
        ScaledLayer.from_recordings({**right, sizes[3]: of(sizes[3], name="another")})


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda layer: Paying({2: layer}), "layers of tp = 2: tp = 1 is needed to compare"),
        (lambda layer: Paying({1: layer}).point(2, 1024, SLOW), "tp = 2 was not recorded: there are 1"),
        (
            lambda layer: Paying({1: layer}).point(1, 200, SLOW),
            "200 channels are no multiple of 1 ranks × 128 of a head: 256",
        ),
    ],
)
def test_what_cannot_be_timed_is_said(ask, said: str) -> None:
    layer = ScaledLayer.from_recordings({each: of(each) for each in (*SIZES, *MORE)})
    with pytest.raises(ValueError, match=re.escape(said)):
        ask(layer)


def test_a_tp_that_does_not_go_with_the_ranks_is_said(ranks4: Ranks) -> None:
    with pytest.raises(ValueError, match="tp = 3 does not go with 4 ranks and 8 heads: tp can be 1, 2, 4"):
        record_layer(ranks4, 3)
