"""Cutting models into stages, and what travels between them."""

from __future__ import annotations

import itertools
import random

import pytest
import torch
from pipeline_programs import masked
from torch import nn

from lab_utils.gpt import GPT, GPTConfig
from lab_utils.strategies.pipeline import StageError, cut
from lab_utils.strategies.pipeline.microbatch import Boundaries
from lab_utils.strategies.pipeline.stages import shares


def gpt(layers: int = 4, **sizes) -> GPT:
    torch.manual_seed(0)
    return GPT(GPTConfig(block=8, layers=layers, channels=8, heads=2, **sizes))


def names(stage: nn.Module) -> set[str]:
    return {name.rpartition(".")[0] or name for name in stage.state_dict()}


def test_a_gpts_ends_go_with_its_outer_blocks() -> None:
    first, last = cut(gpt(), 2)
    assert {"tokens", "positions", "blocks.0.norm1", "blocks.1.norm1"} <= names(first)
    assert {"norm", "head", "blocks.2.norm1", "blocks.3.norm1"} <= names(last)
    assert not names(first) & names(last)


@pytest.mark.parametrize("stages", [1, 2, 3, 6])
def test_stages_in_a_row_are_the_model(stages: int) -> None:
    model = gpt()
    parts = cut(model, stages)
    x = torch.randint(256, (2, 8))
    found = x
    for part in parts:
        found = part(found)
    assert torch.equal(found, model(x)[0])
    together = {name: tensor for part in parts for name, tensor in part.state_dict().items()}
    assert together.keys() == model.state_dict().keys()


def test_costs_say_where_to_cut() -> None:
    held = [
        sorted(names(stage))
        for stage in cut(nn.Sequential(*(nn.Linear(2, 2) for _ in range(5))), 2, costs=[1, 1, 1, 1, 4])
    ]
    assert held == [["0", "1", "2", "3"], ["4"]]
    assert [len(list(s.children())) for s in cut([nn.Tanh() for _ in range(5)], 2)] == [2, 3]


def test_the_costliest_stage_is_as_cheap_as_can_be() -> None:
    draw = random.Random(0)
    for _ in range(60):
        costs = [draw.choice((0, 1, 2, 5, 0.5)) for _ in range(draw.randint(1, 8))]
        stages = draw.randint(1, len(costs))

        def worst(ends, costs=costs) -> float:
            return max(sum(costs[a:b]) for a, b in itertools.pairwise([0, *ends]))

        every = [[*inner, len(costs)] for inner in itertools.combinations(range(1, len(costs)), stages - 1)]
        found = shares(costs, stages)
        assert found in every
        assert worst(found) == min(map(worst, every))


@pytest.mark.parametrize(
    ("model", "stages", "costs", "said"),
    [
        (gpt(2), 5, None, r"4 units \(modules that are never cut\) cannot make 5 stages, but 1 to 4 stages"),
        (gpt(2), 2, [1, 2], "2 costs for 4 units"),
        (gpt(2), 2, [1, 2, float("nan"), 1], r"costs are \[1, 2, nan, 1\]: each is a number from 0 up"),
        (nn.Linear(2, 2), 1, None, "Linear says nowhere where it can be cut"),
    ],
)
def test_what_cannot_be_cut_is_said(model, stages: int, costs, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        cut(model, stages, costs=costs)


# ---------------------------------------------------------------------- shapes
def test_what_travels_is_known_without_computing() -> None:
    stages = cut(masked(), 3)
    before = [tensor.clone() for stage in stages for tensor in stage.state_dict().values()]
    x, first, second = Boundaries(stages).of(torch.rand(5, 4))
    assert [(list(t.shape), t.dtype, t.requires_grad, t.device.type) for t in (*x, *first, *second)] == [
        ([5, 4], torch.float32, False, "meta"),
        ([5, 6], torch.float32, True, "meta"),
        ([5], torch.bool, False, "meta"),
        ([5, 6], torch.float32, True, "meta"),
    ]
    assert all(map(torch.equal, before, [tensor for stage in stages for tensor in stage.state_dict().values()]))


def test_behind_frozen_layers_no_gradient_travels() -> None:
    layers = [nn.Linear(2, 2) for _ in range(3)]
    layers[0].requires_grad_(False)
    boundaries = Boundaries(cut(layers, 3)).of(torch.rand(1, 2))
    assert [t.requires_grad for (t,) in boundaries] == [False, False, True]


def test_a_module_that_shapes_cannot_pass_says_so() -> None:
    class Reads(nn.Module):
        def forward(self, x):
            return x[: int(x.sum())]

    with pytest.raises(StageError, match=r"computing stage 0 with shapes alone, for x \[3, 2\], failed: RuntimeError"):
        Boundaries(cut([Reads(), nn.Linear(2, 2)], 2)).of(torch.rand(3, 2))
