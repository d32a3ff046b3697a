"""Splits any model over tp by a short plan: module name -> how it is split.

    GPT = {
        "tokens": Vocabulary(),
        "blocks.*.attention.{query,key,value}": Heads("width"),
        "blocks.*.attention.out": Row(),
        ...
    }

A `*` stands for one part of a name. Names in braces are layers that read the same input, whose gradient is then reduced
once. Every module that has parameters is in the plan: of one that is forgotten the gradient could be a part, silently.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import nn

from lab_utils.strategies.mesh import Mesh
from lab_utils.strategies.model.placement import BATCH_AXES, Placement, Shard, own, place
from lab_utils.text import listed


class Split(Protocol):
    """How the modules of one entry are split: one module, or those in braces under one parent.

    axes  it applies where one of these axes of the mesh has more than one rank; () for always
    """

    axes: tuple[str, ...]

    def split(self, found: Sequence[Found], at: At) -> None: ...


Plan = Mapping[str, Split]


@dataclass(frozen=True)
class Found:
    """A module of the model that an entry of the plan names."""

    name: str
    module: nn.Module
    parent: nn.Module | None

    def replace(self, module: nn.Module) -> None:
        module.train(self.module.training)
        setattr(self.parent, self.name.rpartition(".")[2], module)

    @property
    def called(self) -> str:
        return f"{self.name or 'the model'} ({type(self.module).__name__})"


@dataclass
class At:
    """Where a model is split: the mesh, with sequence parallelism or without; and the parameters cut so far."""

    mesh: Mesh
    sequence: bool
    _cut: dict[nn.Parameter, nn.Parameter] = field(default_factory=dict)

    def cut(self, parameter: nn.Parameter, *shards: Shard, partial: bool = False) -> nn.Parameter:
        """Return this rank's part of a parameter, for a tied one the same each time.

        partial  whether a rank's gradient is a part of a sum over tp
        ValueError when the modules that share it are split in different ways.
        """
        placed = Placement(shards, (*BATCH_AXES, "tp") if partial else BATCH_AXES)
        if parameter in self._cut:
            if self._cut[parameter].placement != placed:
                raise ValueError(
                    f"a tied weight {list(parameter.shape)} is split as {self._cut[parameter].placement} by one of its "
                    f"modules and as {placed} by another: split them alike, or untie them"
                )
            return self._cut[parameter]
        part = nn.Parameter(own(parameter, placed, self.mesh), parameter.requires_grad) if shards else parameter
        self._cut[parameter] = self._cut[part] = place(part, *shards, partial=placed.partial)
        return part


def split(model: nn.Module, plan: Plan, mesh: Mesh, sequence: bool = False) -> nn.Module:
    """Split the model over tp, in place, before its optimizer is made; return it. No rank waits for another.

    All ranks build the same whole model from the same seed, and each keeps its parts: a split model starts as the
    unsplit one. Its loss is this rank's part of the global batch's mean; placement.sum_gradients follows backward.

    >>> model = split(GPT(config), plans.GPT, Mesh(dp=2, tp=2), sequence=True)

    sequence  also split what lies between the layers, norms, dropout and residual, along the tokens

    ValueError, which names the module: it cannot be split so, its sizes do not divide, the plan does not name it, or
    names none.
    """
    pairs = list(_named(model, plan))
    _check_covered(model, pairs)
    at = At(mesh, sequence)
    for entry, found in pairs:
        if not entry.axes or any(mesh.degrees[axis] > 1 for axis in entry.axes):
            entry.split(found, at)
    return model


def _named(model: nn.Module, plan: Plan) -> Iterator[tuple[Split, list[Found]]]:
    """Yield each entry with the modules that it splits together."""
    modules = dict(model.named_modules(remove_duplicate=False))
    for pattern, entry in plan.items():
        expression, together = _expression(pattern), {}
        for name, module in modules.items():
            if expression.fullmatch(name):
                above = name.rpartition(".")[0]
                found = Found(name, module, modules[above] if name else None)
                together.setdefault(above if "{" in pattern else name, []).append(found)
        if not together:
            raise ValueError(f"the plan's {pattern!r} names no module of this {type(model).__name__}")
        yield from ((entry, found) for found in together.values())


def _expression(pattern: str) -> re.Pattern:
    """Return the regular expression of a pattern: `*` is one part of a name, {a,b} is a or b."""
    special = {"*": r"[^.]+", "{": "(?:", "}": ")", ",": "|"}
    return re.compile("".join(special.get(letter, re.escape(letter)) for letter in pattern))


def _check_covered(model: nn.Module, pairs: Sequence[tuple[Split, list[Found]]]) -> None:
    named = {found.name for _, each in pairs for found in each if found.name}
    missing = [
        f"{name or 'the model itself'} ({type(module).__name__})"
        for name, module in model.named_modules()
        if name not in named and next(module.parameters(recurse=False), None) is not None
    ]
    if missing:
        raise ValueError(
            f"the plan does not say how to split {listed(missing)}: TokenByToken() leaves a module whole that computes "
            "each token by itself, as norms do"
        )
