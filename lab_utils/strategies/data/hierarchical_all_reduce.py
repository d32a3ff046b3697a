"""All-reduce of gradients by sends and receives: one ring over all ranks, a tree, or two levels (nodes and ranks).

Two levels: Mikami et al. 2018, "Massively Distributed SGD: ImageNet/ResNet-50 Training in a Flash", 2D-torus
all-reduce. For N nodes of m ranks, B bytes, and bandwidths `inside` a node and `across` nodes per rank, seconds
without latency:

    ring        2(n-1)/n B / across                                 every round waits for the link between nodes
    two levels  2(m-1)/m B / inside  +  2(N-1)/N B/m / across       an m-th of the bytes crosses

Two levels are faster than this one ring where inside > across; a ring per NIC of the node (collective_costs.py) is not
modelled here. Where the m ranks of a node share one port of bandwidth `across`, a ring
has it alone and the m rings of two levels share it: two levels are then faster only where inside > N across.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch.distributed as dist
from torch import Tensor

from lab_utils.comm.algorithms import formulas
from lab_utils.comm.algorithms.ring import ring_all_reduce
from lab_utils.comm.algorithms.tree import tree_all_reduce
from lab_utils.comm.algorithms.two_level import two_level_all_reduce
from lab_utils.strategies.data.buckets.bucket import Bucket
from lab_utils.strategies.data.buckets.overlapped import Pending
from lab_utils.strategies.data.compression.error_feedback import After


@dataclass(eq=False)
class MultiHop:
    """Sums buckets by the algorithms of chapter 00, whose messages a trace shows one by one.

    >>> Buckets(model, reduce=MultiHop("two_level", ranks_per_node=2))

    ranks_per_node   two_level only: ranks r of the group with equal r // ranks_per_node form a node

    It blocks: the backward waits meanwhile, so this communication is not hidden.
    """

    algorithm: Literal["ring", "tree", "two_level"] = "two_level"
    ranks_per_node: int | None = None
    sent_bytes: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.algorithm not in _ALGORITHMS:
            raise ValueError(f"algorithm={self.algorithm!r}: known are {', '.join(_ALGORITHMS)}")
        if (self.algorithm == "two_level") != (self.ranks_per_node is not None):
            raise ValueError(f"algorithm={self.algorithm!r}, ranks_per_node={self.ranks_per_node}: two_level needs it")

    def __call__(self, bucket: Bucket, group: dist.ProcessGroup) -> Pending:
        nodes = {} if self.ranks_per_node is None else {"ranks_per_node": self.ranks_per_node}
        reduce, cost = _ALGORITHMS[self.algorithm]
        flat: Tensor = bucket.flat
        reduce(flat, group=group, **nodes)
        self.sent_bytes += cost(
            "all_reduce", group.size(), group.rank(), flat.numel(), itemsize=flat.itemsize, **nodes
        ).bytes
        return After([], lambda: None)


_ALGORITHMS: dict[str, tuple[Callable, Callable]] = {
    "ring": (ring_all_reduce, formulas.ring),
    "tree": (tree_all_reduce, formulas.tree),
    "two_level": (two_level_all_reduce, formulas.two_level),
}
