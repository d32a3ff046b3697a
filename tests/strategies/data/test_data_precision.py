"""bfloat16 computing goes with every strategy: masters, gradients and what is reduced stay float32."""

from __future__ import annotations

import data_programs
import pytest

from lab_utils.ranks import RankError, Ranks


def trained(strategy: str, bfloat16: bool) -> tuple[float, set[str], set[str]]:
    """Loss after some steps, dtypes of what is kept, and dtypes of what a layer computes."""
    import torch.distributed as dist

    from lab_utils.strategies.mixed_precision import compute_in_bfloat16, recompute

    group = dist.group.WORLD
    model, optimizer, attached = data_programs.make(strategy, group, seed=0, make_model=single)
    seen = set()
    model.blocks[0].mlp.up.register_forward_hook(lambda _, __, out: seen.add(str(out.dtype)))
    if bfloat16:
        compute_in_bfloat16(model)
    recompute(model.blocks)
    for x, y in data_programs.batches(5):
        loss = data_programs.step(model, optimizer, attached, x, y, group)
    parameters = [p for each in optimizer.param_groups for p in each["params"]]
    kept = {str(t.dtype) for p in parameters for t in (p, p.grad)}
    kept |= {str(value.dtype) for state in optimizer.state.values() for value in state.values()}
    return loss.item(), kept, seen


def single():
    """float32, as masters are."""
    from lab_utils.gpt import GPT, GPTConfig

    return GPT(GPTConfig(block=data_programs.BLOCK, layers=2, channels=16, heads=2))


@pytest.mark.parametrize("strategy", ["buckets", "zero1", "zero2", "zero3"])
def test_masters_stay_float32(ranks2: Ranks, strategy: str) -> None:
    for loss, kept, computed in ranks2.run(trained, strategy, True):
        assert kept == {"torch.float32"}
        assert computed == {"torch.bfloat16"}
        exact, _, in_float32 = ranks2.run(trained, strategy, False)[0]
        assert in_float32 == {"torch.float32"}
        assert loss == pytest.approx(exact, rel=5e-3) and loss != exact


def wrapped(twice: bool) -> None:
    from lab_utils.strategies.mixed_precision import compute_in_bfloat16

    model = single() if twice else data_programs.tied()
    compute_in_bfloat16(model)
    compute_in_bfloat16(model)


def test_what_cannot_be_wrapped_is_refused(ranks2: Ranks) -> None:
    with pytest.raises(RankError, match=r"the model is torch\.float64: master weights are float32"):
        ranks2.run(wrapped, False)
    with pytest.raises(RankError, match="this GPT has a forward of its own already"):
        ranks2.run(wrapped, True)


def copied() -> bool:
    """A copy of a wrapped model computes by itself."""
    import copy

    import torch

    from lab_utils.strategies.mixed_precision import recompute

    model = single()
    recompute(model.blocks)
    twin = copy.deepcopy(model)
    ((x, y),) = data_programs.batches(1)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    twin(x, y)[1].backward()
    return all(p.grad is None for p in model.parameters()) and all(p.grad is not None for p in twin.parameters())


def test_a_copy_is_wrapped_by_itself(ranks2: Ranks) -> None:
    assert ranks2.run(copied) == [True, True]
