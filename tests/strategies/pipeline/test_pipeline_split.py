"""B and W together are the whole backward: the same gradients, each product once, and the memory is free afterwards."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
import torch.utils.checkpoint
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lab_utils.gpt import GPT, GPTConfig
from lab_utils.strategies.pipeline.microbatch import StagePass, tensors
from lab_utils.strategies.pipeline.stages import Stage, cut


class Twice(nn.Module):
    """One weight at two places, the second behind the first."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        return self.one(self.other(torch.relu(self.one(x))).tanh()) + self.other.bias


class Pair(nn.Module):
    """Two outputs, of which the second knows nothing of the input; and a whole number that passes through."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.offset = nn.Parameter(torch.rand(6)), nn.Parameter(torch.rand(6))

    def forward(self, x):
        aside = self.offset.exp()
        return x * self.scale + aside, aside, torch.arange(3)


def normed() -> nn.Module:
    return nn.utils.parametrizations.weight_norm(nn.Linear(6, 6))


def partly_frozen() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 6))
    model[0].requires_grad_(False)
    return model


def convolution() -> nn.Module:
    return nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Conv1d(2, 4, 2), nn.BatchNorm1d(4), nn.Flatten())


def recurrent() -> nn.Module:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(6, 5, batch_first=True)

        def forward(self, x):
            return self.gru(x.unsqueeze(1))[0][:, -1]

    return Last()


class Scaled(nn.Module):
    """Its backward is written in Python."""

    class Scale(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, weight):
            ctx.save_for_backward(x, weight)
            return x * weight

        @staticmethod
        def backward(ctx, gradient):
            x, weight = ctx.saved_tensors
            wanted_x, wanted_weight = ctx.needs_input_grad
            return gradient * weight if wanted_x else None, (gradient * x).sum(0) if wanted_weight else None

    def __init__(self) -> None:
        super().__init__()
        self.first, self.weight = nn.Linear(6, 6), nn.Parameter(torch.rand(6))

    def forward(self, x):
        return self.Scale.apply(self.first(x), self.weight)


class Recomputed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(6, 6), nn.GELU(), nn.Linear(6, 6))

    def forward(self, x):
        return torch.utils.checkpoint.checkpoint(self.inner, x, use_reentrant=False)


def frozen() -> nn.Module:
    return nn.Linear(6, 6).requires_grad_(False)


def gpt_blocks() -> Stage:
    return cut(GPT(GPTConfig(block=8, layers=4, channels=6, heads=2, tied=False)), 2)[1]


MODULES = [Twice, Pair, Scaled, Recomputed, normed, partly_frozen, convolution, recurrent, frozen, gpt_blocks]


def backward(stage: Stage, x: torch.Tensor, wanted: bool, split: bool):
    """Gradients of input and weights."""
    stage.zero_grad()
    torch.manual_seed(1)
    stage_pass = StagePass(stage, (x,), (wanted,))
    gradients = [torch.rand_like(t) for t in stage_pass.take_output() if t.is_floating_point()]
    if not stage_pass._edges:
        gradients = []
    if split:
        found = stage_pass.backward_input(gradients)
        assert all(p.grad is None for p in stage.parameters())
        stage_pass.backward_weight()
    else:
        found = stage_pass.backward(gradients)
    return [*found, *(p.grad for p in stage.parameters())]


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("make", MODULES)
def test_split_equals_whole(make, wanted: bool) -> None:
    torch.manual_seed(0)
    module = make().double()
    stage = module if isinstance(module, Stage) else cut([nn.Tanh(), module], 1)[0]
    x = torch.rand((4, 8, 6) if make is gpt_blocks else (4, 6), dtype=torch.float64)
    whole, parts = (backward(stage, x, wanted, split) for split in (False, True))
    assert len(whole) == len(parts)
    for a, b in zip(whole, parts, strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.allclose(a, b, rtol=1e-12, atol=0)


def flops(action) -> int:
    with FlopCounterMode(display=False) as counted:
        action()
    return counted.get_total_flops()


@pytest.mark.parametrize("number", [0, 1])
def test_every_product_is_made_once(number: int) -> None:
    """Of a GPT's first and last stage."""
    stage = cut(GPT(GPTConfig(block=8, layers=4, channels=8, heads=2, tied=False)), 2)[number]
    x = torch.randint(256, (2, 8)) if number == 0 else torch.rand(2, 8, 8)
    stage_passes = [StagePass(stage, (x,), (number == 1,)) for _ in range(2)]
    gradients = [[torch.ones_like(t) for t in stage_pass.take_output()] for stage_pass in stage_passes]
    whole = flops(lambda: stage_passes[0].backward(gradients[0]))
    b, w = (flops(lambda: stage_passes[1].backward_input(gradients[1])), flops(stage_passes[1].backward_weight))
    assert b + w == whole and b > 0.4 * whole and w > 0.4 * whole


def test_the_input_of_a_first_stage_needs_no_gradient_yet_b_has_its_part() -> None:
    stage = cut([nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)], 1)[0]
    stage_pass = StagePass(stage, (torch.rand(3, 4),), (False,))
    assert flops(lambda: stage_pass.backward_input([torch.rand(3, 2)])) == 2 * 3 * (2 * 8 + 8 * 8)
    assert flops(stage_pass.backward_weight) == 2 * 3 * (4 * 8 + 8 * 8 + 8 * 2)


class Kept(nn.Module):
    """Remembers, weakly, what it gave."""

    seen: weakref.ref

    def forward(self, x):
        y = torch.exp(x)  # exp keeps its output for the backward
        self.seen = weakref.ref(y.untyped_storage())
        return y


@pytest.mark.parametrize("split", [True, False])
def test_memory_lasts_until_the_weights_have_their_gradient(split: bool) -> None:
    kept = Kept()
    stage = cut([nn.Linear(3, 3), kept, nn.Linear(3, 3)], 1)[0]
    stage_pass = StagePass(stage, (torch.rand(2, 3),), (True,))
    (output,) = tensors(stage_pass.take_output())
    here = weakref.ref(output.untyped_storage())
    del output
    gc.collect()
    assert here() is None, "the output is kept, and no backward needs it"
    given = [torch.ones(2, 3)]
    if split:
        stage_pass.backward_input(given)
        assert kept.seen() is not None
        stage_pass.backward_weight()
    else:
        stage_pass.backward(given)
    del stage_pass
    assert kept.seen() is None  # at once: there is no circle that a collector has to find
