"""A parameter server's step written op by op: what ranks that run one are recorded to do, and what it takes."""

from __future__ import annotations

import pytest

from lab_utils.ranks import Ranks
from lab_utils.strategies.data.parameter_server.predicted import one_process_step, ring_step, server_step
from lab_utils.timeline.hardware import Device, Hardware, Link

DEVICE, LINK = Device("1 TFLOP/s", 1e12, 1e12), Link("1 µs, 1 GB/s", 1e-6, 1e9)
HARDWARE = Hardware(DEVICE, LINK, algorithm="ring")
SIZE_BYTES, FLOPS = 8_000_000, 10**9


def served() -> None:
    """Gradients to rank 0 and parameters from it, without computing."""
    import torch
    import torch.distributed as dist

    flat = torch.zeros(SIZE_BYTES // 8, dtype=torch.float64)
    others = range(1, dist.get_world_size())
    for way, peers in ((dist.recv, others), (dist.send, others)) if dist.get_rank() == 0 else ():
        for peer in peers:
            way(flat, peer)
    if dist.get_rank():
        dist.send(flat, 0)
        dist.recv(flat, 0)


def on_the_wire(ops) -> list[tuple]:
    return [(op.kind, op.peer, op.bytes) for op in ops if op.kind != "compute"]


def test_it_is_what_ranks_do(ranks4: Ranks) -> None:
    written, recorded = server_step(4, SIZE_BYTES, FLOPS), ranks4.record(served)
    assert [on_the_wire(ops) for ops in written.ops] == [on_the_wire(ops) for ops in recorded.ops]


@pytest.mark.parametrize("ranks", [2, 3, 8, 64])
def test_the_server_takes_longer_with_each_rank_and_the_ring_does_not(ranks: int) -> None:
    alpha_s, beta_s, compute_s = LINK.latency_s, SIZE_BYTES / LINK.bytes_per_s, FLOPS / DEVICE.flops_per_s
    server_s = compute_s + 2 * (ranks - 1) * (alpha_s + beta_s)
    ring_s = compute_s + 2 * (ranks - 1) * (alpha_s + beta_s / ranks)
    assert server_step(ranks, SIZE_BYTES, FLOPS).timeline(HARDWARE).makespan_s == pytest.approx(server_s)
    assert ring_step(ranks, SIZE_BYTES, FLOPS).timeline(HARDWARE).makespan_s == pytest.approx(ring_s)


@pytest.mark.parametrize("output_bytes", [0, 3_000_000])
def test_one_process_copies_over_one_link(output_bytes: int) -> None:
    step = one_process_step(4, SIZE_BYTES, FLOPS, output_bytes)
    # An empty message takes the link's latency.
    copies = [(3, SIZE_BYTES), (3, output_bytes), (3, SIZE_BYTES)]
    copies_s = sum(n * (LINK.latency_s + size_bytes / LINK.bytes_per_s) for n, size_bytes in copies)
    timeline = step.timeline(HARDWARE)
    assert timeline.makespan_s == pytest.approx(copies_s + FLOPS / DEVICE.flops_per_s)
    assert timeline.compute_by_rank_s == pytest.approx([FLOPS / DEVICE.flops_per_s] * 4)
    sent = [sum(op.bytes for op in ops if op.kind == "send") for ops in step.ops]
    assert sent == [3 * SIZE_BYTES, *[SIZE_BYTES + output_bytes] * 3]


def test_without_flops_nothing_is_computed() -> None:
    assert {op.kind for op in server_step(3, SIZE_BYTES)} == {"send", "recv"}
    assert [op.kind for op in ring_step(2, SIZE_BYTES)] == ["collective"] * 2


def test_a_server_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="1 rank: a parameter server needs 2 or more"):
        server_step(1, SIZE_BYTES)
