"""Exact strategies equal serial training: 8 AdamW steps, uneven shards, tied weights, a frozen layer, 2 to 4 ranks."""

from __future__ import annotations

import data_programs
import pytest

from lab_utils.ranks import RankError, Ranks
from lab_utils.strategies.parity import parity

EXACT = ("buckets", "zero1", "zero2", "zero3")
PLAIN = ("one by one", "flat", "two-level")


@pytest.fixture(scope="module")
def serial(ranks4: Ranks) -> dict:
    return ranks4.run(data_programs.train, "serial")[0]


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("strategy", [*PLAIN, *EXACT])
def test_equals_serial(ranks4: Ranks, serial: dict, strategy: str, size: int) -> None:
    found = parity(serial, ranks4.run(data_programs.train, strategy, size)[:size], tolerance=1e-10)
    assert found.equal, found
    assert len(serial["parameters"]) == len(serial["gradients"]) + 1 > 40  # one is frozen


@pytest.mark.parametrize("strategy", EXACT)
def test_micro_batches_equal_one_batch(ranks4: Ranks, serial: dict, strategy: str) -> None:
    found = parity(serial, ranks4.run(data_programs.train, strategy, 2, data_programs.STEPS, 2)[:2], tolerance=1e-10)
    assert found.equal, found


def unused(find_unused: bool) -> tuple[list[bool], dict]:
    """Two layers of which rank 1 uses the first only, and a third that nobody uses; then one step, serial and not."""
    import torch
    import torch.distributed as dist
    from torch import nn

    from lab_utils.strategies.data.buckets.overlapped import Buckets

    rank = dist.get_rank()
    torch.manual_seed(0)
    layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(3)).double()
    alone = nn.ModuleList(nn.Linear(3, 3) for _ in range(3)).double()
    alone.load_state_dict(layers.state_dict())
    Buckets(layers, find_unused=find_unused)
    x = torch.arange(3.0, dtype=torch.float64)
    used(layers, x, rank).backward()
    (used(alone, x, 0) / 2 + used(alone, x, 1) / 2).backward()
    pairs = zip(layers.parameters(), alone.parameters(), strict=True)
    same = [torch.allclose(a.grad, b.grad) for a, b in pairs if b.grad is not None]
    return same, [p.grad is None for p in layers.parameters()]


def used(layers, x, rank: int):
    return (layers[0](x) if rank else layers[1](layers[0](x))).square().sum()


def test_what_some_ranks_do_not_use_counts_as_zero(ranks2: Ranks) -> None:
    for same, is_none in ranks2.run(unused, True):
        assert same == [True] * 4
        assert is_none == [False] * 4 + [True] * 2  # as in serial training, whose AdamW then leaves it alone


def test_what_is_not_used_is_named(ranks2: Ranks) -> None:
    with pytest.raises(RankError, match=r"[12]\.weight.* got no gradient on rank .*find_unused=True") as raised:
        ranks2.run(unused, False)
    assert "other ranks wait for it" in str(raised.value)


def buffers() -> list[list[float]]:
    """Batch norm sees other data on each rank; the running means after each of two forwards."""
    import torch
    import torch.distributed as dist
    from torch import nn

    from lab_utils.strategies.data.buckets.overlapped import Buckets

    model = nn.BatchNorm1d(1, momentum=1.0).double()
    Buckets(model)
    means = []
    for i in range(2):
        with torch.no_grad():
            model.eval() if i else model.train()
            model(torch.full((2, 1), 10.0 + dist.get_rank(), dtype=torch.float64) + torch.tensor([[-1.0], [1.0]]))
        means.append(model.running_mean.item())
    return means


def test_buffers_are_the_first_rank_s_at_each_forward(ranks2: Ranks) -> None:
    assert ranks2.run(buffers) == [[10.0, 10.0], [11.0, 10.0]]


def after_a_failed_backward(strategy: str) -> float:
    """A backward that fails half-way, then one step; how far its parameters are from a step without the failure."""
    import torch
    import torch.distributed as dist

    group = dist.group.WORLD
    models = []
    for fails in (True, False):
        model, optimizer, attached = data_programs.make(strategy, group, seed=0)
        if fails:
            fail_in_backward(model, data_programs.batches(1))
        for x, y in data_programs.batches(1):
            data_programs.step(model, optimizer, attached, x, y, group)
        state = attached.state_dict() if hasattr(attached, "state_dict") else model.state_dict()
        models.append(torch.cat([value.flatten() for value in state.values()]))
    return (models[0] - models[1]).abs().max().item()


def fail_in_backward(model, batches) -> None:
    ((x, y),) = batches
    hook = model.blocks[0].norm1.register_full_backward_hook(lambda *_: 1 / 0)
    loss = model(x, y)[1]
    with pytest.raises(ZeroDivisionError):
        loss.backward()
    hook.remove()


@pytest.mark.parametrize("strategy", EXACT)
def test_a_failed_backward_does_no_harm_to_the_next(ranks2: Ranks, strategy: str) -> None:
    assert ranks2.run(after_a_failed_backward, strategy) == [0.0, 0.0]


@pytest.mark.parametrize("strategy", EXACT)
def test_recomputed_activations_change_nothing(ranks2: Ranks, strategy: str) -> None:
    kept, recomputed = (ranks2.run(recomputing, strategy, again)[0] for again in (False, True))
    found = parity(kept, [recomputed], tolerance=0.0)
    assert found.equal, found


def recomputing(strategy: str, again: bool) -> dict:
    """Two steps, with dropout."""
    import torch
    import torch.distributed as dist

    from lab_utils.strategies.mixed_precision import recompute

    model, optimizer, attached = data_programs.make(strategy, dist.group.WORLD, seed=0)
    for block in model.blocks:
        block.dropout.p = 0.1
    if again:
        recompute(model.blocks)
    torch.manual_seed(2)
    for x, y in data_programs.batches(2):
        loss = data_programs.step(model, optimizer, attached, x, y, dist.group.WORLD)
    return data_programs.rank_state(model, attached, loss, dist.group.WORLD)
