"""The experts: feed-forward networks of one shape, their weights stacked, so that splitting is cutting a dim.

E experts, of which this rank holds E / ep   C channels   I hidden width, of which this rank holds I / tp   R rows

Over tp each expert is split as a dense MLP is: `up` by columns, `down` by rows, so that the outputs of the ranks add up
to the expert's (Shoeybi et al. 2019, "Megatron-LM", section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lab_utils.strategies.mesh import Mesh
from lab_utils.strategies.model.placement import BATCH_AXES, Placement, Shard, own, place

Activation = Literal["swiglu", "gelu"]


class Experts(nn.Module):
    """Feed-forward networks without biases, each for rows of its own.

    swiglu  down (silu(gate x) · (up x)), `up` holding gate, then up: [E, 2 I, C] (Shazeer 2020, "GLU Variants")
    gelu    down gelu(up x), `up` [E, I, C]
    """

    def __init__(self, channels: int, hidden: int, experts: int, activation: Activation = "swiglu") -> None:
        super().__init__()
        if activation not in ("swiglu", "gelu"):
            raise ValueError(f"activation={activation!r}: an expert is a swiglu or a gelu network")
        self.channels, self.hidden, self.experts, self.activation = channels, hidden, experts, activation
        self.parts = (hidden, hidden) if activation == "swiglu" else (hidden,)
        self.up = nn.Parameter(torch.empty(experts, sum(self.parts), channels))
        self.down = nn.Parameter(torch.empty(experts, channels, hidden))

    def forward(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """Return each row's output; rows [R, C] are sorted by expert, `counts` of each. Under tp in parts, a summand.

        An expert without rows takes part with none: its gradients are zeros, and the rank goes on to the next exchange
        in forward and backward.
        """
        experts = zip(rows.split(list(counts)), self.up.unbind(), self.down.unbind(), strict=True)
        return torch.cat([F.linear(self._activate(F.linear(x, up)), down) for x, up, down in experts])

    def _activate(self, hidden: Tensor) -> Tensor:
        if self.activation == "gelu":
            return F.gelu(hidden)
        gate, up = hidden.chunk(2, dim=-1)
        return F.silu(gate) * up

    def split(self, mesh: Mesh, *, ep: bool, tp: bool) -> None:
        """Keep this rank's experts (ep), and of each this rank's columns and rows (tp), and note where they lie."""
        partial = ("edp",) if ep else BATCH_AXES
        for name, dim, parts in (("up", 1, self.parts), ("down", 2, (self.hidden,))):
            shards = [Shard("ep", 0, (self.experts,))] if ep else []
            shards += [Shard("tp", dim, parts)] if tp else []
            if not shards:
                continue  # all of it, as every parameter that nothing is noted on
            weight = getattr(self, name)
            kept = nn.Parameter(own(weight, Placement(tuple(shards)), mesh), weight.requires_grad)
            setattr(self, name, place(kept, *shards, partial=partial))
