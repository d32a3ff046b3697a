"""Dispatch and combine: tokens to the ranks that hold their experts, and the results back.

N tokens of this rank   k experts of each token   E experts   P ranks along ep, each with E / P experts, in order
M rows that this rank sends, N · k without drops   R rows that it receives   C channels
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Plan:
    """Which rows this rank sends, sorted by expert.

    choices  [M] int64: row m is choice `choices[m]`; choice t · k + j is token t's j-th
    counts   [E] int64: how many rows each expert gets of this rank
    dropped  [E] int64: how many it does not, for lack of capacity
    """

    choices: Tensor
    counts: Tensor
    dropped: Tensor


def plan(chosen: Tensor, experts: int, capacity_factor: float | None = None, groups: int = 1) -> Plan:
    """Sort the choices [N, k] by expert; equal ones keep the order of the tokens.

    capacity_factor  drop what an expert's capacity does not hold; None drops nothing
    groups           the tokens are cut into as many dispatch groups, each with its own capacity
    """
    flat = chosen.flatten()  # [N k]
    kept = flat
    if capacity_factor is not None:
        places = capacity(chosen.numel() // groups, experts, capacity_factor)
        kept = flat.where(place_in_expert(chosen, experts, groups).flatten() < places, experts)  # E: dropped
    counts = kept.bincount(minlength=experts + 1)[:experts]
    choices = kept.argsort(stable=True)[: int(counts.sum())] if kept is not flat else kept.argsort(stable=True)
    return Plan(choices, counts, flat.bincount(minlength=experts) - counts)


def capacity(choices: int, experts: int, factor: float) -> int:
    """Return how many of a dispatch group's tokens · k choices an expert takes: ⌈tokens · k / E · factor⌉.

    Lepikhin et al. 2020, "GShard", section 3.2; Fedus et al. 2021, "Switch Transformers", eq. 3.
    """
    return math.ceil(choices / experts * factor)


def place_in_expert(chosen: Tensor, experts: int, groups: int = 1) -> Tensor:
    """Return, for each choice [N, k], how many choices of the same expert stand before it in its group: int64 [N, k].

    First choices stand before second ones, earlier tokens before later ones (GShard, algorithm 1): whatever the ranks
    do, the same are dropped.
    """
    n, k = chosen.shape
    if n % groups:
        raise ValueError(f"{n} tokens are not divisible into {groups} dispatch groups of equal capacity")
    ordered = chosen.view(groups, n // groups, k).transpose(1, 2).flatten(1)  # [G, k n]
    place = F.one_hot(ordered, experts).cumsum(1).gather(2, ordered.unsqueeze(2)).squeeze(2) - 1
    return place.view(groups, k, n // groups).transpose(1, 2).reshape(n, k)


@dataclass(frozen=True, slots=True)
class Way:
    """The way of this rank's rows to the experts' ranks, and back.

    to, of     rows sent to, and received of, each rank along ep
    by_expert  [R] int64: the received rows by expert, in each by the rank that they come of
    counts     rows for each of this rank's experts
    """

    group: dist.ProcessGroup
    to: list[int]
    of: list[int]
    by_expert: Tensor
    counts: list[int]


def find_way(counts: Tensor, group: dist.ProcessGroup) -> Way:
    """Exchange the counts [E], so that each rank knows how many rows come: E integers, by one even all-to-all."""
    ranks = group.size()
    arriving = torch.empty_like(counts)
    dist.all_to_all_single(arriving, counts, group=group)  # [P, E / P]: of each rank, for each of this rank's experts
    table = arriving.view(ranks, -1)
    expert = torch.arange(table.shape[1], device=counts.device).repeat(ranks).repeat_interleave(arriving)  # [R]
    to, of = counts.view(ranks, -1).sum(1).tolist(), table.sum(1).tolist()
    return Way(group, to, of, expert.argsort(stable=True), table.sum(0).tolist())


def dispatch(rows: Tensor, way: Way) -> Tensor:
    """Send each row [M, C], sorted by expert, to its expert's rank; return what comes, sorted by expert: [R, C]."""
    return Exchange.apply(rows, way.to, way.of, way.group).index_select(0, way.by_expert)


def combine(rows: Tensor, way: Way) -> Tensor:
    """Send the results [R, C] back to where their rows came from: [M, C], in the order in which those were sent."""
    arrived = torch.empty_like(way.by_expert)
    arrived[way.by_expert] = torch.arange(len(arrived), device=arrived.device)  # the inverse
    return Exchange.apply(rows.index_select(0, arrived), way.of, way.to, way.group)


class Exchange(torch.autograd.Function):
    """An uneven all-to-all of rows: the first to[0] go to rank 0, the next to[1] to rank 1, and so on.

    Its backward:  over all ranks together y = S x, where S only moves rows: each is one row of x, on some rank.
                   dL/dx = Sᵀ dL/dy, and a permutation's transpose is its inverse, Sᵀ S = 1:
                   the gradient of a row travels back the way that the row came. So `to` and `of` change places.

    So dispatch's backward is combine's forward, and the other way round. A rank that sends or receives no row takes
    part as well: the others wait for it.
    """

    @staticmethod
    def forward(ctx, rows: Tensor, to: list[int], of: list[int], group: dist.ProcessGroup) -> Tensor:
        ctx.way = to, of, group
        arrived = rows.new_empty(sum(of), *rows.shape[1:])
        dist.all_to_all_single(arrived, rows.contiguous(), of, to, group=group)
        return arrived

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        to, of, group = ctx.way
        return Exchange.apply(gradient, of, to, group), None, None, None
