"""Gradients of ranks that hold unlike pieces: tensor-parallel reductions, meshes of two axes, stages of a pipeline."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import gradient_meshes as programs
import pytest
import torch
from gradient_checks import (
    CLOSE,
    assert_as_computed_alone,
    assert_pieces_make_the_whole,
    boxed,
    by_name,
    disagreement,
    on_rank_clock,
    serial,
)
from gradient_programs import BATCH, WIDTH, batch, model, own_gradients

from lab_utils.ranks import Ranks
from lab_utils.widgets.gradient_flow.flow import FlowPicture
from lab_utils.widgets.gradient_flow.picture import blocks, gradient_flow

ACTIVATION_BYTES = BATCH * WIDTH * 8


def test_tensor_parallel_pieces_and_the_reduction_between(ranks2: Ranks) -> None:
    trace = ranks2.record(programs.tensor_parallel, count=False)
    for record in trace.results:
        for name, found in by_name(record).items():
            is_split = name in ("2.weight", "2.bias", "4.weight")
            assert found.share == (0.5 if is_split else 1) and disagreement(found, "after") == (None if is_split else 0)
            piece = boxed(serial(name), found.kept)
            assert found.norm_before == found.norm_after == pytest.approx(piece.norm().item(), rel=1e-9)
    assert trace.results[0].buckets == ()
    (line,) = FlowPicture.of(trace, trace.results).others
    assert [(wire.rank, wire.op.name, wire.op.bytes) for wire in line.ops] == [
        (rank, "all_reduce", ACTIVATION_BYTES) for rank in (0, 1)
    ]
    for wire, record in zip(line.ops, trace.results, strict=True):  # once 4 is done, before 0 can begin
        ready_s = {name: gradient.ready_s[-1] for name, gradient in by_name(record).items()}
        assert ready_s["4.weight"] < on_rank_clock(trace.results, wire.op.issue_s) < ready_s["0.bias"]


def test_a_mesh_of_two_axes(ranks4: Ranks) -> None:
    """A bucket has an op for each of the groups that reduce it; pieces of pieces are where they belong."""
    trace = ranks4.record(programs.sharded_and_tensor_parallel, count=False)
    own, records = own_gradients(2), trace.results
    for name in own:
        found = [by_name(record)[name] for record in records]
        mean = torch.stack(own[name]).mean(0)
        is_split, square = name in ("0.weight", "0.bias", "2.weight"), own[name][0].square().sum().item()
        before = sum(gradient.norm_before**2 for gradient in found[:2])  # of dp index 0
        assert before / (1 if is_split else 2) == pytest.approx(square, rel=CLOSE)
        count = torch.zeros(mean.shape)
        for gradient in found:
            assert gradient.norm_after == pytest.approx(boxed(mean, gradient.kept).norm().item(), rel=CLOSE)
            boxed(count, gradient.kept).add_(1)
        assert bool((count == (1 if is_split else 2)).all())
    flow = FlowPicture.of(trace, records)
    assert [layer.bucket for layer in flow.layers] == [0, 0, 1, 1, 2, 2, 3, 3]
    # Ranks that had such a mesh before in an earlier test number the next one: "mesh_dp 0,2 (2)".
    assert [[(wire.rank, wire.op.group.partition(" (")[0]) for wire in line.ops] for line in flow.lines] == [
        [(rank, f"mesh_dp {rank % 2},{rank % 2 + 2}") for rank in range(4)]
    ] * 4
    assert {line.name.partition(" (")[0] for line in flow.others} <= {"all_gather, mesh_dp", "all_reduce, mesh_tp"}


def test_replicas_of_shards_come_back_after_two_ops(ranks4: Ranks) -> None:
    trace = ranks4.record(programs.hybrid_sharded, count=False)
    assert_as_computed_alone(trace.results, own_gradients(4))
    assert_pieces_make_the_whole(trace.results, times=2)
    flow = FlowPicture.of(trace, trace.results)
    for line in flow.lines:
        assert line.name == "reduce_scatter + all_reduce"
        for rank in range(4):
            within, between = line.of(rank)
            assert (within.op.name, between.op.name) == ("reduce_scatter", "all_reduce")
            assert within.op.bytes == 2 * between.op.bytes and within.issue_s < between.issue_s
    for record in trace.results:
        for gradient in record.gradients:
            assert disagreement(gradient, "after") == (0 if gradient.share else None)


def boundary_norm() -> float:
    """Of the gradient where the model is cut, computed in one process."""
    whole = model()
    between = whole[:4](batch(0, 1)).detach().requires_grad_()
    whole[4:](between).square().mean().backward()
    return between.grad.norm().item()


def test_stages_send_gradients_on(ranks2: Ranks) -> None:
    trace = ranks2.record(programs.stages)
    for rank, record in enumerate(trace.results):
        for name, found in by_name(record).items():
            assert name.startswith(f"stage {rank}") and disagreement(found, "before") is None
            if found.kind == "parameter":
                alone = serial(name.removeprefix(f"stage {rank}.")).norm().item()
                assert found.norm_before == found.norm_after == pytest.approx(alone, rel=1e-9)
    given = by_name(trace.results[1])["stage 1 input"]
    assert (given.kind, given.bytes) == ("input", ACTIVATION_BYTES)
    assert given.norm_before == pytest.approx(boundary_norm(), rel=1e-9)
    flow = FlowPicture.of(trace, trace.results)
    assert [(line.name, len(line.ops)) for line in flow.others] == [("gradients, rank 1 → 0", 2)]
    assert [layer.name[:7] for layer in flow.layers] == ["stage 1"] * 6 + ["stage 0"] * 4
    assert [(layers, len(lines)) for layers, lines in blocks(flow)] == [(6, 1), (4, 0)]  # the message stands between


def test_one_forward_one_backward_of_pytorch(ranks2: Ranks) -> None:
    """Its loss is the mean of each micro-batch: gradients are so many times too large until it divides them."""
    trace = ranks2.record(programs.one_f_one_b, 4)
    first, second = map(by_name, trace.results)
    for rank, found in enumerate((first, second)):
        for name, gradient in found.items():
            assert len(gradient.ready_s) == 4 and list(gradient.ready_s) == sorted(gradient.ready_s)
            if gradient.kind == "parameter":
                alone = serial(name.removeprefix(f"stage {rank}.")).norm().item()
                assert gradient.norm_before == pytest.approx(4 * alone, rel=1e-9)
                assert gradient.norm_after == pytest.approx(alone, rel=1e-9)
    sent, came = second["stage 1 input"], first["stage 0 output"]
    assert sent.norm_before == came.norm_before == pytest.approx(4 * boundary_norm(), rel=1e-9)
    assert sent.bytes == came.bytes == ACTIVATION_BYTES
    flow = FlowPicture.of(trace, trace.results)
    (line,) = (line for line in flow.others if line.name == "gradients, rank 1 → 0")
    assert [len(line.of(rank)) for rank in (0, 1)] == [4, 4]
    for micro, (send, recv) in enumerate(zip(line.of(1), line.of(0), strict=True)):
        assert on_rank_clock(trace.results, send.op.issue_s) > sent.ready_s[micro]
        assert on_rank_clock(trace.results, recv.op.issue_s) < came.ready_s[micro]
    nodes = list(ET.fromstring(gradient_flow(flow).svg).iter())
    counts = [sum(node.get(name) is not None for node in nodes) for name in ("data-ready", "data-earlier")]
    assert counts == [len(flow.layers), 3 * len(flow.layers)]
    assert flow.headline(timed=False) == "8 gradients; no two ranks keep the same"
