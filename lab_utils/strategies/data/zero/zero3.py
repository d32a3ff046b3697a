"""ZeRO-3: parameters are sharded too, gathered before their use and freed after it.

Rajbhandari et al. 2020, "ZeRO" (SC 20), section 5.3; prefetching, and freeing the storage, as in Zhao et al. 2023,
"PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel" (VLDB 16), sections 3.2.1 and 3.3.2. On the wire: two
all-gathers of the parameters and a reduce-scatter of the gradients, one and a half times an all-reduce.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.graph import register_multi_grad_hook
from torch.utils._pytree import tree_leaves

from lab_utils.strategies.data.all_reduce import replicate
from lab_utils.strategies.data.buckets.bucket import NO_LIMIT, names_of, trained
from lab_utils.strategies.data.buckets.overlapped import current_backward
from lab_utils.strategies.data.zero.flat_parameters import FlatParameters, flatten, number_buckets, update_pieces_only
from lab_utils.strategies.data.zero.reduce_scatter import scatter_gradients


class Unit:
    """Layers whose parameters are gathered and freed together."""

    def __init__(self, flats: Sequence[FlatParameters], group: dist.ProcessGroup) -> None:
        self.flats, self.group = list(flats), group
        self.is_whole, self._works = True, []
        for flat in self.flats:
            flat.piece.data = flat.piece.detach().clone()  # not a view: `whole` is freed
            flat.show()
        self.free()

    def begin(self) -> None:
        """Start to gather, unless already started."""
        if not self.is_whole and not self._works:
            for flat in self.flats:
                flat.take()
            self._works = [flat.gather(self.group) for flat in self.flats]

    def use(self) -> None:
        """Make the parameters whole, waiting for the gather."""
        self.begin()
        for work in self._works:
            work.wait()
        if not self.is_whole:
            for flat in self.flats:
                flat.show()
        self.is_whole, self._works = True, []

    def free(self) -> None:
        for work in self._works:
            work.wait()
        for flat in self.flats:
            flat.free()
        self.is_whole, self._works = False, []


class ShardedParameters:
    """ZeRO-3: shards parameters, gradients and optimizer state.

    >>> zero = ShardedParameters(model, torch.optim.AdamW(model.parameters()), units=model.blocks)
    >>> loss.backward(); optimizer.step(); optimizer.zero_grad()      # as in serial training
    >>> zero.state_dict()                                             # unsharded, for a plain model

    units    modules whose parameters are gathered together; the rest of the model is one more unit, which stays whole
             from its first use in a step to its last
    ahead    how many units to gather before they are needed

    Outside of forward and backward a sharded parameter is empty. Frozen parameters stay whole on every rank.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        units: Sequence[nn.Module],
        *,
        group: dist.ProcessGroup | None = None,
        ahead: int = 1,
    ) -> None:
        self.model, self.optimizer, self.group, self.ahead = model, optimizer, group or dist.group.WORLD, ahead
        replicate(model, self.group)
        self._make_units(units)
        self._backward: int | None = None
        self._order: list[Unit] = []  # in which the last forward used them
        self.buckets = scatter_gradients(model, self.flats, self.group, frees=True, leaving=self._leaving)
        for module, unit in self._units.items():
            self._hook(module, unit)
        optimizer.register_step_post_hook(lambda *_: self.refresh())

    def _make_units(self, modules: Sequence[nn.Module]) -> None:
        names, members = names_of(self.model), _members(self.model, modules)
        flats_of = {
            module: flatten(parameters, names, self.optimizer, self.group, NO_LIMIT)
            for module, parameters in members.items()
        }
        self._units, self._unit_of = {}, {}
        # Gradients are sent in the order in which a backward ends: the last unit first, the rest of the model last.
        self.flats = number_buckets([flat for module in reversed(flats_of) for flat in reversed(flats_of[module])])
        update_pieces_only(self.optimizer, self.flats)
        for module, flats in flats_of.items():
            unit = self._units[module] = Unit(flats, self.group)
            self._unit_of |= dict.fromkeys(flats, unit)

    def _hook(self, module: nn.Module, unit: Unit) -> None:
        module.register_forward_pre_hook(lambda *_: self._before_forward(unit))
        module.register_forward_hook(lambda module, _, output: self._after_forward(module, unit, output))

    def _before_forward(self, unit: Unit) -> None:
        if current_backward() is None:
            if unit is self._units[self.model]:
                self._last, self._order = self._order, []
            self._order.append(unit)
            self._gather_ahead(self._last)
        unit.use()

    def _gather_ahead(self, order: Sequence[Unit]) -> None:
        """Start to gather the next units, in the order of the last forward."""
        reached = len(self._order)
        for unit in order[reached - 1 : reached + self.ahead]:
            unit.begin()

    def _after_forward(self, module: nn.Module, unit: Unit, output: object) -> None:
        if current_backward() is not None:
            return  # recomputed by activation checkpointing: the backward needs the parameters now
        outputs = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor) and leaf.requires_grad]
        if outputs:
            register_multi_grad_hook(outputs, lambda _: self._before_backward(unit), mode="any")
        if module is not self.model or not outputs:
            unit.free()

    def _before_backward(self, unit: Unit) -> None:
        if self._backward != (backward := current_backward()):
            self._backward = backward
            torch.autograd.Variable._execution_engine.queue_callback(self.refresh)
        unit.use()
        place = self._order.index(unit)
        for earlier in self._order[max(0, place - self.ahead) : place]:
            earlier.begin()

    def _leaving(self, flat: FlatParameters) -> None:
        """Free the unit, which nothing needs once all its gradients are computed."""
        unit = self._unit_of[flat]
        if unit.is_whole and flat is min(unit.flats, key=lambda each: -each.bucket.number):
            unit.free()

    def refresh(self) -> None:
        """Free all whole units: they are gathered again when used."""
        for unit in self._units.values():
            if unit.is_whole or unit._works:
                unit.free()

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Make all parameters whole inside, to be read only: writes are lost."""
        for unit in self._units.values():
            unit.use()
        try:
            yield
        finally:
            self.refresh()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the whole model's state dict on every rank, as of a model that was never sharded."""
        with self.gathered():
            return {name: value.clone() for name, value in self.model.state_dict().items()}


def _members(model: nn.Module, modules: Sequence[nn.Module]) -> dict[nn.Module, list[nn.Parameter]]:
    """Return the parameters outside of all units (or shared by several) under the model, then those of each unit."""
    users: dict[nn.Parameter, list[nn.Module]] = {p: [] for p in trained(model)}
    inside = {p: set() for p in users}
    for module in modules:
        for p in module.parameters():
            if p in users:
                users[p].append(module)
    for owner in model.modules():
        for p in owner.parameters(recurse=False):
            if p in users:
                inside[p].add(owner)
    covered = {each for module in modules for each in module.modules()}
    members: dict[nn.Module, list[nn.Parameter]] = {model: [], **{module: [] for module in modules}}
    for p, of in users.items():
        alone = len(of) == 1 and inside[p] <= covered
        members[of[0] if alone else model].append(p)
    return members
