"""Balance: experts that are chosen alike often, by a loss or by a bias without one.

E experts   N tokens of the global batch   k experts of each token   p_i(t) token t's probability of expert i

Fedus et al. 2021, "Switch Transformers", eq. 4 to 6, for any k:

    loss = α · E · Σ_i f_i · P_i     f_i = choices of expert i / (N k)     P_i = Σ_t p_i(t) / N

α where all are chosen alike, more where not. The gradient flows through P alone, and f is its factor. So f has to be
that of the global batch: with each rank's own f the factors would differ, and with them the router that is learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils.strategies.mesh import Mesh
from lab_utils.strategies.model.experts.layer import MixtureOfExperts, mixtures
from lab_utils.strategies.model.experts.load import Load
from lab_utils.strategies.model.placement import BATCH_AXES


class Counted(NamedTuple):
    """Of the global batch: choices of each expert [E] int64, and tokens."""

    chosen: Tensor
    tokens: int


def balance_loss(model: nn.Module, mesh: Mesh | None = None, of: Sequence[Counted] | None = None) -> Tensor:
    """Return this rank's part of the balance loss of the forwards since the last call, of all layers together, [].

    >>> loss = targets_loss + balance_loss(model, mesh)        # the sum of these over the ranks is the global loss
    >>> loss.backward()

    of    what `count_first` counted, where a step has several micro-batches, each with its own backward; without it,
          the batch is what all ranks have run since the last call

    One all-reduce of E + 1 integers for each layer, none with `of` or without a mesh. All ranks call it, in training.
    """
    layers = _balanced(model)
    if odd := next((layer for layer in layers if not layer.passes), None):
        raise ValueError(f"a layer of {odd.router.experts} experts has run no forward in training since the last call")
    total = layers[0].router.weight.new_zeros(())
    of = of or _reduced([(sum(p.chosen for p in x.passes), sum(p.tokens for p in x.passes)) for x in layers], mesh)
    for layer, counted in zip(layers, of, strict=True):
        mine = torch.stack([each.probabilities for each in layer.passes]).sum(0)  # [E]
        layer.passes = []
        total = total + layer.balance * _loss(mine, counted, layer.router.top_k)
    return total


def _loss(probabilities: Tensor, counted: Counted, top_k: int) -> Tensor:
    f = counted.chosen.to(probabilities) / (counted.tokens * top_k)  # [E]
    return len(f) * (f * probabilities / counted.tokens).sum()


@torch.no_grad()
def count_first(model: nn.Module, micro_batches: Sequence[Tensor], mesh: Mesh | None = None) -> list[Counted]:
    """Return the counts of a global batch of several micro-batches: one more forward of each, without gradients.

    >>> counted = count_first(model, [x for x, _ in parts], mesh)
    >>> for x, y in parts:
    ...     (loss_of(model, x, y) + balance_loss(model, mesh, counted)).backward()

    The first micro-batch's backward needs f of all of them. Dropout draws what it will draw in those forwards.
    """
    layers = _balanced(model)
    noted = [(layer.chosen, layer.dropped, layer.tokens, layer.places) for layer in layers]
    for layer in layers:
        layer.forget()
    devices = [torch.cuda.current_device()] if next(model.parameters()).is_cuda else []
    with torch.random.fork_rng(devices):
        for x in micro_batches:
            model(x)
    counted = _reduced([(layer.chosen, layer.tokens) for layer in layers], mesh)
    for layer, before in zip(layers, noted, strict=True):
        layer.chosen, layer.dropped, layer.tokens, layer.places = before
    return counted


def _balanced(model: nn.Module) -> list[MixtureOfExperts]:
    layers = [layer for layer in mixtures(model).values() if layer.balance]
    if not layers:
        raise ValueError("no mixture has a balance loss: MixtureOfExperts(…, balance=0.01) gives it a factor")
    return layers


def _reduced(mine: Sequence[tuple[Tensor, int]], mesh: Mesh | None) -> list[Counted]:
    """Sum each layer's choices [E] and tokens over the batch's axes; the ranks of tp have seen the same tokens."""
    joined = torch.cat([torch.cat([chosen, chosen.new_tensor([tokens])]) for chosen, tokens in mine])
    if mesh is not None and mesh.dp * mesh.cp > 1:
        dist.all_reduce(joined, group=mesh.group(*BATCH_AXES))
    parts = joined.split([len(chosen) + 1 for chosen, _ in mine])
    return [Counted(part[:-1], int(part[-1])) for part in parts]


@torch.no_grad()
def measured(model: nn.Module, mesh: Mesh | None = None) -> list[Load]:
    """Return the load of each layer's experts since the last call, over all ranks: once per step, on all of them.

    One all-reduce of 2 E + 1 integers for each layer. Forwards in training count, those in eval mode do not.
    """
    layers, ep = mixtures(model), mesh.degrees["ep"] if mesh is not None else 1
    sums = _reduced([(torch.cat([x.chosen, x.dropped]), x.places) for x in layers.values()], mesh)
    found = []
    for (name, layer), (both, places) in zip(layers.items(), sums, strict=True):
        chosen, dropped = both.view(2, -1).tolist()
        limit = None if layer.capacity_factor is None else places
        found.append(Load(name, tuple(chosen), tuple(dropped), ep, limit))
        layer.forget()
    return found


@torch.no_grad()
def update_bias(model: nn.Module, loads: Sequence[Load], rate: float = 1e-3) -> None:
    """Raise the bias of experts that were chosen less often than the mean by `rate`, lower the others': once per step.

    >>> update_bias(model, measured(model, mesh))

    Wang et al. 2024, "Auxiliary-Loss-Free Load Balancing" (arXiv 2408.15664), algorithm 1: b_i += u · sign(mean − c_i),
    with the counts of the global batch, which are the same on all ranks, so that the biases stay the same.
    """
    for layer, load in zip(mixtures(model).values(), loads, strict=True):
        if layer.router.bias is None:
            raise ValueError(f"{load.layer} chooses without a bias: MixtureOfExperts(…, biased=True) has one")
        chosen = torch.tensor(load.chosen, dtype=torch.float64)
        layer.router.bias += rate * (chosen.mean() - chosen).sign().to(layer.router.bias)
