"""Formulas and step lists by the name of the algorithm; `node_size` is None but for two_level."""

from __future__ import annotations

import steps_as_data

from lab_utils.comm.algorithms import formulas, steps

COLLECTIVES = ("all_reduce", "reduce_scatter", "all_gather")


def formula(algorithm, node_size, collective, n, rank, numel, itemsize=1):
    extra = () if node_size is None else (node_size,)
    return getattr(formulas, algorithm)(collective, n, rank, numel, *extra, itemsize=itemsize)


def step_list(algorithm, node_size, collective, n):
    extra = () if node_size is None else (node_size,)
    return getattr(steps_as_data, f"{algorithm}_steps")(n, *extra, collective)


def sends(algorithm, node_size, collective, n, numel):
    """For each rank what the step list says it sends: (step, dst, elements), in order."""
    sizes = steps.chunk_sizes(numel, n)
    if algorithm == "two_level" and collective == "all_reduce":  # shards are cut first, then each for the nodes
        shards = steps.chunk_sizes(numel, node_size)
        sizes = [size for shard in shards for size in steps.chunk_sizes(shard, n // node_size)]
    found = [[] for _ in range(n)]
    for step in step_list(algorithm, node_size, collective, n):
        for src, dst, chunks in step.messages:
            found[src].append((step.number, dst, sum(sizes[c] for c in chunks)))
    return found
