"""Cuts a model into stages: consecutive units, each stage with about the same cost.

A stage keeps the parameter names of the whole model, so the stages' state dicts together are the model's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, NamedTuple

from torch import Tensor, nn

from lab_utils.gpt import GPT

Value = Tensor | tuple[Tensor, ...]  # the output of a unit and input of the next


class Unit(NamedTuple):
    """The smallest unit of a cut: some modules of the model with their names in it, and how to call them.

    call   (the stage, the value) -> the value; the stage has the modules under their names
    cost   relative, for balancing the stages
    """

    modules: tuple[tuple[str, nn.Module], ...]
    call: Callable[[nn.Module, Any], Any]
    cost: float = 1.0


class Stage(nn.Module):
    """Consecutive units of a model, under the model's own names."""

    def __init__(self, units: Sequence[Unit], **attributes: object) -> None:
        super().__init__()
        for unit in units:
            for name, module in unit.modules:
                _put(self, name, module)
        for name, value in attributes.items():
            setattr(self, name, value)
        self._calls = [unit.call for unit in units]

    def forward(self, value: Value, note: Callable[[Value], object] | None = None) -> Value:
        """note: called with the output of each unit."""
        for call in self._calls:
            value = call(self, value)
            if note is not None:
                note(value)
        return value


def cut(model: nn.Module | Sequence[nn.Module], stages: int, *, costs: Sequence[float] | None = None) -> list[Stage]:
    """Cut a GPT, an nn.Sequential, or a list of modules into stages, minimising the cost of the costliest one.

    >>> cut(GPT(GPTConfig(layers=4)), 2)                               # embedding and 2 blocks; 2 blocks and logits
    >>> cut(GPT(GPTConfig(layers=4)), 2, costs=[0.1, 1, 1, 1, 1, 2])   # 3 blocks in the first

    costs   one per unit: embedding, blocks, norm with logits; each module of a Sequential or a list. By default all
            units cost the same, and a GPT's two ends nothing

    ValueError, with the numbers, for fewer units than stages or a wrong number of costs.
    """
    units = units_of(model)
    if costs is not None and len(costs) != len(units):
        raise ValueError(f"{len(costs)} costs for {len(units)} units: one for each is needed")
    if not 1 <= stages <= len(units):
        can = f"1 to {len(units)} stages" if units else "none"
        raise ValueError(f"{len(units)} units (modules that are never cut) cannot make {stages} stages, but {can}")
    if not all(0 <= cost < float("inf") for cost in costs or ()):
        raise ValueError(f"costs are {list(costs)}: each is a number from 0 up")
    ends = shares(costs if costs is not None else [unit.cost for unit in units], stages)
    return [stage_of(model, units[a:b]) for a, b in zip([0, *ends], ends, strict=False)]


def units_of(model: nn.Module | Sequence[nn.Module]) -> list[Unit]:
    """Return the units of a GPT, an nn.Sequential or a list of modules. ValueError for another model."""
    return _of_gpt(model) if isinstance(model, GPT) else _of_modules(model)


def stage_of(model: nn.Module | Sequence[nn.Module], units: Sequence[Unit]) -> Stage:
    """Return a stage of consecutive units of the model."""
    return Stage(units, **({"config": model.config} if isinstance(model, GPT) else {}))


@contextmanager
def evaluating(stages: Iterable[Stage]) -> Iterator[None]:
    """Put every module into eval mode inside; restore each module's mode afterwards."""
    trained = [module for stage in stages for module in stage.modules() if module.training]
    try:
        for module in trained:
            module.training = False
        yield
    finally:
        for module in trained:
            module.training = True


def _of_gpt(model: GPT) -> list[Unit]:
    first = Unit(tuple((name, getattr(model, name)) for name in ("tokens", "positions", "dropout")), GPT.embed, 0.0)
    last = Unit((("norm", model.norm), ("head", model.head)), GPT.unembed, 0.0)
    return [first, *_of_modules(model.blocks, "blocks."), last]


def _of_modules(model: nn.Module | Sequence[nn.Module], prefix: str = "") -> list[Unit]:
    if isinstance(model, nn.Module) and not isinstance(model, nn.Sequential | nn.ModuleList):
        raise ValueError(
            f"{type(model).__name__} says nowhere where it can be cut: give a GPT, an nn.Sequential, or its modules "
            "in a list, each of which takes what the one before gives"
        )
    named = model.named_children() if isinstance(model, nn.Module) else ((str(i), m) for i, m in enumerate(model))
    return [_of_module(f"{prefix}{name}", module) for name, module in named]


def _of_module(name: str, module: nn.Module) -> Unit:
    return Unit(((name, module),), lambda stage, value: stage.get_submodule(name)(value))


def _put(stage: nn.Module, name: str, module: nn.Module) -> None:
    """Add a module under a dotted name, creating empty parent modules where needed."""
    *path, last = name.split(".")
    for part in path:
        if part not in stage._modules:
            stage.add_module(part, nn.Module())
        stage = stage.get_submodule(part)
    stage.add_module(last, module)


def shares(costs: Sequence[float], stages: int) -> list[int]:
    """Return where each stage ends, one past its last unit: minimal cost of the costliest stage, the others even.

    Two passes over all cuts: the first finds the cost of the costliest stage, the second, among cuts within that
    limit, the least sum of squares.
    """
    sums = [0.0, *accumulate(costs)]
    most, _ = _best(sums, stages, max, lambda cost: cost)
    limit = most * (1 + 1e-12)
    return _best(sums, stages, lambda a, b: a + b, lambda cost: cost**2 if cost <= limit else float("inf"))[1]


def _best(
    sums: Sequence[float], stages: int, join: Callable[[float, float], float], price: Callable[[float], float]
) -> tuple[float, list[int]]:
    """Return (price, ends) of the cheapest cut; `join` combines the prices of stages."""
    units = len(sums) - 1
    best: dict[int, tuple[float, list[int]]] = {0: (0.0, [])}  # units used -> cheapest way with the stages so far
    for stage in range(1, stages + 1):
        room = range(stage, units - (stages - stage) + 1)  # each later stage needs a unit
        best = {
            end: min(
                (join(paid, price(sums[end] - sums[start])), [*ends, end])
                for start, (paid, ends) in best.items()
                if start < end
            )
            for end in room
        }
    return best[units]
