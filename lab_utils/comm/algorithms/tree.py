"""Tree collectives: pairs of ranks, then pairs of pairs, up to rank 0 and down again.

Few rounds, 2 ceil(log2 n), but every message carries the whole tensor, and rank 0 sends one in every round on the way
down: for small tensors, which are bound by the latency of a round (formulas.tree).

All ranks end with bit-identical results, because rank 0 alone computes the result and the others copy it
(why that matters: ring.py).
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from lab_utils.comm.algorithms.point_to_point import Peers, check_chunk, chunks_of, in_place, store
from lab_utils.comm.algorithms.reduce_op import SUM, check_op, combine, divide
from lab_utils.comm.algorithms.rounds import Edge, chunk_offsets, tree_levels


def tree_all_reduce(
    tensor: Tensor, op: dist.ReduceOp.RedOpType = SUM, group: dist.ProcessGroup | Peers | None = None
) -> None:
    """Reduce over all ranks, in place, as dist.all_reduce: reduce to rank 0, then broadcast."""
    peers = Peers.of(group)
    check_op(tensor, op)
    with in_place(tensor) as flat:
        _reduce_up(flat, op, peers)
        _broadcast_down(flat, peers)


def tree_reduce_scatter(
    output: Tensor,
    input: Tensor,
    op: dist.ReduceOp.RedOpType = SUM,
    group: dist.ProcessGroup | Peers | None = None,
) -> None:
    """Leave chunk `rank` of the reduced `input` in `output`: reduce to rank 0, then scatter."""
    peers = Peers.of(group)
    check_op(input, op)
    check_chunk(output, input, peers)
    flat = input.detach().flatten().clone()  # the input is the caller's
    _reduce_up(flat, op, peers)
    _scatter_down(flat, peers)
    store(output, chunks_of(flat, peers.n)[peers.rank])


def tree_all_gather(output: Tensor, input: Tensor, group: dist.ProcessGroup | Peers | None = None) -> None:
    """Join the inputs of all ranks in `output`: gather to rank 0, then broadcast."""
    peers = Peers.of(group)
    check_chunk(input, output, peers)
    with in_place(output) as flat:
        store(chunks_of(flat, peers.n)[peers.rank], input)
        _gather_up(flat, peers)
        _broadcast_down(flat, peers)


def _reduce_up(flat: Tensor, op: dist.ReduceOp.RedOpType, peers: Peers) -> None:
    """Add up the tree: rank 0 ends with the result, other parents with partial sums."""
    for edge in _edges(peers):
        if peers.rank == edge.child:
            peers.move(flat, edge.child, edge.parent)
        else:
            arrived = torch.empty_like(flat)
            peers.move(arrived, edge.child, edge.parent)
            combine(flat, arrived, op, out=flat)
    if peers.rank == 0:
        divide(flat, op, peers.n)


def _broadcast_down(flat: Tensor, peers: Peers) -> None:
    """Send the whole tensor from parents to children, widest edge first, so that both halves continue at once."""
    for edge in reversed(_edges(peers)):
        peers.move(flat, edge.parent, edge.child)


def _scatter_down(flat: Tensor, peers: Peers) -> None:
    """Send only the chunks of the ranks below each edge: half as much at every level."""
    for edge in reversed(_edges(peers)):
        peers.move(_below(edge, flat, peers), edge.parent, edge.child)


def _gather_up(flat: Tensor, peers: Peers) -> None:
    """The scatter in reverse."""
    for edge in _edges(peers):
        peers.move(_below(edge, flat, peers), edge.child, edge.parent)


def _edges(peers: Peers) -> list[Edge]:
    """Return the edges that this rank is on, leaves first: to its children, then to its parent."""
    return [edge for level in tree_levels(peers.n) for edge in level if peers.rank in edge[:2]]


def _below(edge: Edge, flat: Tensor, peers: Peers) -> Tensor:
    """Return the chunks of the ranks below an edge: contiguous in the tensor, hence one message."""
    offsets = chunk_offsets(flat.numel(), peers.n)
    return flat[offsets[edge.child] : offsets[edge.end]]
