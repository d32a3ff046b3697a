"""Two-level (hierarchical) collectives: fast links inside a node, slow ones across.

Ranks k * ranks_per_node ... (k + 1) * ranks_per_node - 1 of the group are node k. Inside the node every
rank first gets one shard, then ranks with equal local rank exchange shards across nodes. A rank sends as many
bytes as in one long ring. But the ring uses a slow link in every round, and all bytes that leave a node are sent
by its last rank; here the rounds over slow links are as few as the nodes, and every rank of a node sends an equal
share across (formulas.two_level).

All ranks end with bit-identical results: each element is reduced by one ring inside each node and one across,
and copied from there (why that matters: ring.py).
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from lab_utils.comm.algorithms.point_to_point import Peers, check_chunk, chunks_of, in_place, store
from lab_utils.comm.algorithms.reduce_op import SUM, check_op, divide, total
from lab_utils.comm.algorithms.ring import ring_all_gather, ring_all_reduce, ring_reduce_scatter
from lab_utils.comm.algorithms.rounds import by_local_rank, nodes_of


def two_level_all_reduce(
    tensor: Tensor,
    ranks_per_node: int,
    op: dist.ReduceOp.RedOpType = SUM,
    group: dist.ProcessGroup | Peers | None = None,
) -> None:
    """Reduce over all ranks, in place. ValueError when ranks_per_node does not divide the group's size."""
    peers = Peers.of(group)
    node, across = _levels(peers, ranks_per_node)
    check_op(tensor, op)
    with in_place(tensor) as flat:
        shard = chunks_of(flat, node.n)[node.rank]
        ring_reduce_scatter(shard, flat, total(op), node)
        ring_all_reduce(shard, total(op), across)
        divide(shard, op, peers.n)
        ring_all_gather(flat, shard, node)


def two_level_reduce_scatter(
    output: Tensor,
    input: Tensor,
    ranks_per_node: int,
    op: dist.ReduceOp.RedOpType = SUM,
    group: dist.ProcessGroup | Peers | None = None,
) -> None:
    """Leave chunk `rank` of the reduced `input` in `output`: inside the node first, so that fewer bytes cross."""
    peers = Peers.of(group)
    node, across = _levels(peers, ranks_per_node)
    check_op(input, op)
    check_chunk(output, input, peers)
    # A rank's shard is what it and the ranks with its local rank in other nodes end with: make those contiguous.
    chunks = chunks_of(input, peers.n)
    regrouped = torch.cat([chunks[rank] for rank in by_local_rank(peers.n, node.n)])
    shard = torch.empty_like(chunks_of(regrouped, node.n)[node.rank])
    ring_reduce_scatter(shard, regrouped, total(op), node)
    ring_reduce_scatter(output, shard, total(op), across)
    divide(output, op, peers.n)


def two_level_all_gather(
    output: Tensor, input: Tensor, ranks_per_node: int, group: dist.ProcessGroup | Peers | None = None
) -> None:
    """Join the inputs of all ranks in `output`: across nodes first, while a rank still holds little."""
    peers = Peers.of(group)
    node, across = _levels(peers, ranks_per_node)
    check_chunk(input, output, peers)
    with in_place(output) as flat:
        regrouped = torch.empty_like(flat)
        shard = chunks_of(regrouped, node.n)[node.rank]
        ring_all_gather(shard, input, across)
        ring_all_gather(regrouped, shard, node)
        _restore_order(chunks_of(flat, peers.n), regrouped, by_local_rank(peers.n, node.n))


def _levels(peers: Peers, ranks_per_node: int) -> tuple[Peers, Peers]:
    """Return the ranks of this rank's node, and those with its local rank in all nodes."""
    nodes_of(peers.n, ranks_per_node)
    node, place = divmod(peers.rank, ranks_per_node)
    inside = range(node * ranks_per_node, (node + 1) * ranks_per_node)
    return peers.among(inside), peers.among(range(place, peers.n, ranks_per_node))


def _restore_order(chunks: tuple[Tensor, ...], regrouped: Tensor, order: list[int]) -> None:
    """Copy pieces stored in `order` to their chunks."""
    pieces = regrouped.split([chunks[rank].numel() for rank in order])
    for rank, piece in zip(order, pieces, strict=True):
        store(chunks[rank], piece)
