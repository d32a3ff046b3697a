"""Ring collectives: every rank only sends to its right and receives from its left.

In each round every link carries one chunk, 1/n of the tensor, so no rank is a bottleneck: the bytes sent per rank
hardly grow with n. The price is the number of rounds, which does (formulas.ring).

After an all-reduce all ranks hold bit-identical results: each chunk is reduced along one path, in one order,
and all other ranks get a copy of that result. Data parallel depends on this: replicas are never compared
again, so ranks that summed in different orders would get weights that differ in the last bit, and drift.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from lab_utils.comm.algorithms.point_to_point import Peers, check_chunk, chunks_of, in_place, store
from lab_utils.comm.algorithms.reduce_op import SUM, check_op, combine, divide
from lab_utils.comm.algorithms.rounds import ring_chunk, ring_range


def ring_all_reduce(
    tensor: Tensor,
    op: dist.ReduceOp.RedOpType = SUM,
    group: dist.ProcessGroup | Peers | None = None,
) -> None:
    """Reduce over all ranks, in place, as dist.all_reduce: any shape, any numel.

    A reduce-scatter, after which each rank holds one chunk of the result, then an all-gather.
    """
    peers = Peers.of(group)
    with in_place(tensor) as flat:
        mine = chunks_of(flat, peers.n)[peers.rank]
        ring_reduce_scatter(mine, flat, op, peers)
        ring_all_gather(flat, mine, peers)


def ring_reduce_scatter(
    output: Tensor,
    input: Tensor,
    op: dist.ReduceOp.RedOpType = SUM,
    group: dist.ProcessGroup | Peers | None = None,
) -> None:
    """Leave chunk `rank` of the reduced `input` in `output`; n - 1 rounds.

    As dist.reduce_scatter_single. The input is flattened and cut into n chunks, the first
    numel % n one element longer; it is not changed.
    """
    peers = Peers.of(group)
    rank, n = peers.rank, peers.n
    check_op(input, op)
    check_chunk(output, input, peers)
    chunks = chunks_of(input, n)
    partial = chunks[ring_chunk(rank, 0, n)]
    for k in ring_range(n, "reduce_scatter"):
        own = chunks[ring_chunk(rank, k + 1, n)]
        arrived = torch.empty_like(own)
        _turn(peers, partial, arrived)
        partial = combine(own, arrived, op, out=arrived)  # goes on to the right next
    store(output, partial)  # n - 1 ranks have added to it, and this rank was the last
    divide(output, op, n)


def ring_all_gather(
    output: Tensor,
    input: Tensor,
    group: dist.ProcessGroup | Peers | None = None,
) -> None:
    """Join the inputs of all ranks in `output`, as dist.all_gather_single; n - 1 rounds.

    Rank r's input is chunk r of the flattened output.
    """
    peers = Peers.of(group)
    rank, n = peers.rank, peers.n
    check_chunk(input, output, peers)
    with in_place(output) as flat:
        chunks = chunks_of(flat, n)
        store(chunks[rank], input)
        for k in ring_range(n, "all_gather"):
            here, coming = ring_chunk(rank, k, n), ring_chunk(rank, k + 1, n)
            _turn(peers, chunks[here], chunks[coming])  # passed on in the next round


def _turn(peers: Peers, sent: Tensor, arrived: Tensor) -> None:
    """Send to the right and receive from the left."""
    peers.exchange(sent, (peers.rank + 1) % peers.n, arrived, (peers.rank - 1) % peers.n)
