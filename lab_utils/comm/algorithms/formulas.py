"""Rounds and bytes of the collectives in ring.py, tree.py and two_level.py, in closed form.

Pure: no torch. Let B be the bytes of the whole tensor (the input of a reduce-scatter, the output of an
all-gather) and n the number of ranks. With alpha seconds per round and beta seconds per byte, a collective takes about
rounds * alpha + (bytes of the busiest rank) * beta: small tensors are bound by rounds, large ones by bytes.

| all-reduce | rounds          | bytes sent per rank                      | of these across nodes |
|------------|-----------------|------------------------------------------|-----------------------|
| ring       | 2(n-1)          | 2(n-1)/n B                               |                       |
| tree       | 2 ceil(log2 n)  | B at a leaf, ceil(log2 n) B at rank 0    |                       |
| two-level  | 2(m-1) + 2(N-1) | 2(n-1)/n B                               | 2(N-1)/N B/m          |

(N nodes of m ranks, n = N m.) The functions below count exactly, for any number of elements. Left out: protocol
headers, and the time to add.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab_utils.comm.algorithms.rounds import Collective, chunk_offsets, chunk_sizes, nodes_of, ring_range


@dataclass(frozen=True, slots=True)
class Cost:
    """What one rank spends on a collective.

    rounds          longest chain of messages that depend on one another, with one exchange per rank at a time; the
                    same for all ranks
    messages        sent by this rank, empty ones included
    bytes           sent by this rank
    bytes_across    of these, bytes to another node (two_level only)
    """

    rounds: int = 0
    messages: int = 0
    bytes: int = 0
    bytes_across: int = 0

    def __add__(self, later: Cost) -> Cost:
        """Return the cost of one collective after the other."""
        return Cost(
            self.rounds + later.rounds,
            self.messages + later.messages,
            self.bytes + later.bytes,
            self.bytes_across + later.bytes_across,
        )


def ring(collective: Collective, n: int, rank: int, numel: int, itemsize: int = 1) -> Cost:
    """Cost of a ring of n ranks. Every round sends one chunk to the right.

    Reduce-scatter and all-gather: n - 1 rounds and (n-1)/n B each (Thakur, Rabenseifner and Gropp 2005,
    "Optimization of Collective Communication Operations in MPICH", section Allgather). All-reduce is both:
    2(n-1)/n B; unless switches add, the busiest rank sends no less in any all-reduce (Patarasuk and Yuan 2009,
    "Bandwidth optimal all-reduce algorithms for clusters of workstations"). With unequal chunks a rank sends all but
    its own chunk to reduce, and all but its right neighbour's to gather.

    >>> ring("all_reduce", n=4, rank=0, numel=1000, itemsize=4)
    Cost(rounds=6, messages=6, bytes=6000, bytes_across=0)
    """
    rounds = len(ring_range(n, collective))
    _check_rank(rank, n)
    sizes = chunk_sizes(numel, n)
    reduces = (numel - sizes[rank]) if collective != "all_gather" else 0
    gathers = (numel - sizes[(rank + 1) % n]) if collective != "reduce_scatter" else 0
    return Cost(rounds, rounds, (reduces + gathers) * itemsize)


def tree(collective: Collective, n: int, rank: int, numel: int, itemsize: int = 1) -> Cost:
    """Cost of a binomial tree: up to rank 0 and down again, ceil(log2 n) rounds each way.

    Up, each rank but rank 0 sends once: B to reduce, the chunks of its subtree to gather. Down, each rank
    sends to each of its children: B to broadcast, their subtrees' chunks to scatter (Thakur, Rabenseifner and
    Gropp 2005, sections Broadcast, Reduce-Scatter and Allreduce; MPICH used reduce followed by broadcast before
    their work, and reduce followed by scatter, but with a linear scatter).

    >>> tree("all_reduce", n=4, rank=0, numel=1000, itemsize=4)
    Cost(rounds=4, messages=2, bytes=8000, bytes_across=0)
    """
    ring_range(n, collective)
    _check_rank(rank, n)
    offsets = chunk_offsets(numel, n)
    children, end = _family(rank, n)
    subtree, own = offsets[end] - offsets[rank], offsets[rank + 1] - offsets[rank]
    up = 0 if rank == 0 else (subtree if collective == "all_gather" else numel)
    down = subtree - own if collective == "reduce_scatter" else children * numel
    return Cost(2 * (n - 1).bit_length(), (rank != 0) + children, (up + down) * itemsize)


def two_level(collective: Collective, n: int, rank: int, numel: int, ranks_per_node: int, itemsize: int = 1) -> Cost:
    """Cost of rings inside the nodes and across them: the sum of the collective's parts.

    N nodes of m ranks: 2(m-1) + 2(N-1) rounds for an all-reduce, half for the others; the tensor reduced across
    nodes has B/m bytes (Mikami et al. 2018, "Massively Distributed SGD: ImageNet/ResNet-50 Training in a Flash",
    2D-Torus all-reduce).

    >>> two_level("all_reduce", n=8, rank=0, numel=1000, ranks_per_node=4, itemsize=4)
    Cost(rounds=8, messages=8, bytes=7000, bytes_across=1000)
    """
    nodes = nodes_of(n, ranks_per_node)
    _check_rank(rank, n)
    node, place = divmod(rank, ranks_per_node)
    crossing = ring(collective, nodes, node, chunk_sizes(numel, ranks_per_node)[place], itemsize)
    cost = crossing + Cost(bytes_across=crossing.bytes)
    if collective != "all_gather":
        cost += ring("reduce_scatter", ranks_per_node, place, numel, itemsize)
    if collective != "reduce_scatter":
        cost += ring("all_gather", ranks_per_node, place, numel, itemsize)
    return cost


def _family(rank: int, n: int) -> tuple[int, int]:
    """Return the number of children of a rank in the binomial tree, and the end of its subtree.

    Rank r has the children r + 1, r + 2, r + 4, ... below r + its lowest set bit (rank 0: no bound), and
    below n.
    """
    lowest_bit = rank & -rank or 1 << (n - 1).bit_length()
    children = min(lowest_bit.bit_length() - 1, (n - 1 - rank).bit_length())
    return children, min(rank + lowest_bit, n)


def _check_rank(rank: int, n: int) -> None:
    if not 0 <= rank < n:
        raise ValueError(f"{n} ranks are 0 to {n - 1}, and rank is {rank}")
