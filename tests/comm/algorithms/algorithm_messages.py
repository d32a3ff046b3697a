"""Formulas and round lists by the name of the algorithm; `node_size` is None but for two_level."""

from __future__ import annotations

import rounds_as_data

from lab_utils.comm.algorithms import formulas
from lab_utils.comm.algorithms.rounds import chunk_sizes

COLLECTIVES = ("all_reduce", "reduce_scatter", "all_gather")


def formula(algorithm, node_size, collective, n, rank, numel, itemsize=1):
    extra = () if node_size is None else (node_size,)
    return getattr(formulas, algorithm)(collective, n, rank, numel, *extra, itemsize=itemsize)


def round_list(algorithm, node_size, collective, n):
    extra = () if node_size is None else (node_size,)
    return getattr(rounds_as_data, f"{algorithm}_rounds")(n, *extra, collective)


def sends(algorithm, node_size, collective, n, numel):
    """For each rank what the round list says it sends: (round, dst, elements), in order."""
    sizes = chunk_sizes(numel, n)
    if algorithm == "two_level" and collective == "all_reduce":  # shards are cut first, then each for the nodes
        shards = chunk_sizes(numel, node_size)
        sizes = [size for shard in shards for size in chunk_sizes(shard, n // node_size)]
    found = [[] for _ in range(n)]
    for each in round_list(algorithm, node_size, collective, n):
        for src, dst, chunks in each.messages:
            found[src].append((each.number, dst, sum(sizes[c] for c in chunks)))
    return found
