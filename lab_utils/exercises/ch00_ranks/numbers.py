"""The numbers of chapter 00: messages between ranks, their number and size."""

from __future__ import annotations

from functools import partial

from lab_utils.comm.algorithms import formulas
from lab_utils.comm.algorithms.rounds import chunk_sizes, ring_chunk, ring_range
from lab_utils.exercises.framework.judge_numbers import Numbers, Quantity

MIB = 2**20
TENSOR_BYTES = 64 * MIB
RANKS, PER_NODE, MANY = 4, 2, 8


def ranks_sum() -> Numbers:
    n, numbers = RANKS, range(RANKS)
    right = sum(numbers)
    asked = Quantity(
        right, counted_from_1=sum(range(1, n + 1)), mean=right / n, largest=max(numbers), of_all=n * right, ranks=n
    )
    return [asked], {"terms": " + ".join(map(str, numbers)), "sum": right}


def ring_bytes() -> Numbers:
    cost, n, whole = formulas.ring("all_reduce", RANKS, 0, TENSOR_BYTES), RANKS, TENSOR_BYTES
    right, half = cost.bytes, formulas.ring("all_gather", RANKS, 0, TENSOR_BYTES).bytes
    asked = Quantity(
        right, half=half, once=whole, twice=2 * whole, to_each=(n - 1) * whole, whole_messages=2 * (n - 1) * whole,
        in_mib=right / MIB, in_mb=right / MIB * 10**6, one_chunk=whole // n,
    )  # fmt: skip
    sizes = {"mib": right // MIB, "chunk_mib": whole // n // MIB}
    return [asked], {"others": n - 1, "bytes": right, "messages": cost.messages, **sizes}


def rounds() -> Numbers:
    n = MANY
    ring, tree = (f("all_reduce", n, 0, n).rounds for f in (formulas.ring, formulas.tree))
    by_ring = Quantity(ring, half_ring=ring / 2, ranks=n, itself=2 * n, of_tree=tree)
    by_tree = Quantity(tree, half_tree=tree / 2, of_ring=ring, one_pair=2 * n)
    return [by_ring, by_tree], {"others": n - 1, "ring": ring, "levels": tree // 2, "tree": tree}


def leaving_node(ranks: int, per_node: int, tensor_bytes: int) -> tuple[int, int]:
    """Return the bytes that node 0 sends to other nodes in one all-reduce: (flat ring, two-level)."""
    sizes = chunk_sizes(tensor_bytes, ranks)
    crossing = [rank for rank in range(per_node) if (rank + 1) % ranks >= per_node]  # to the rank at its right
    flat = sum(sizes[ring_chunk(rank, k, ranks)] for k in ring_range(ranks, "all_reduce") for rank in crossing)
    cost = partial(formulas.two_level, "all_reduce", ranks, numel=tensor_bytes, ranks_per_node=per_node)
    return flat, sum(cost(rank=rank).bytes_across for rank in range(per_node))


def leaving_bytes() -> Numbers:
    flat, two = leaving_node(RANKS, PER_NODE, TENSOR_BYTES)
    nodes, share = RANKS // PER_NODE, two / PER_NODE
    asked = [
        Quantity(flat, both_ranks=2 * flat, half=flat / 2, both_nodes=2 * two, of_two_level=two, in_mib=flat / MIB),
        Quantity(two, one_rank=share, whole=PER_NODE * two, of_ring=flat, in_mib=two / MIB),
    ]
    mib = {"flat_mib": flat // MIB, "two_level_mib": two // MIB, "share_mib": two // MIB // PER_NODE}
    return asked, {"flat": flat, "two_level": two, "nodes": nodes, "across": 2 * (nodes - 1), **mib}
