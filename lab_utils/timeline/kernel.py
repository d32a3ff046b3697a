"""The simulator's inner loop, compiled: as many as 4 million ops in a tenth of a second."""

from __future__ import annotations

import numpy as np
from numba import njit

# Named, so that importing this module compiles it, or loads what was compiled before: installing does so once.
_PROGRAM = "int64[::1], int32[::1], int32[::1], int32[::1], uint8[::1]"
_TIMES = "float64[::1], float64[::1], float64[::1], float64[::1]"


@njit(f"int64[::1]({_PROGRAM}, {_TIMES})", cache=True, nogil=True, boundscheck=False)
def run(first, cost_class, edge_first, edge_from, edge_class, cost, lag, start_s, end_s):
    """Fill start_s and end_s; returns int64[S], the node that each stream came to: its end, unless it is blocked.

    Each stream goes on until a node that its next one needs has not been placed. It then waits on that node's stream,
    which wakes it when it has passed the node: so every node is looked at as often as it has edges, and once more.
    Which stream goes first changes nothing: ends are maxima of the same sums.
    """
    streams = len(first) - 1
    end_s[:] = -1.0
    reached = first[:-1].copy()
    needs = np.empty(streams, np.int64)  # the node that a waiting stream needs
    waiters = np.full(streams, -1, np.int64)  # first stream that waits on this one ...
    following = np.full(streams, -1, np.int64)  # ... and the one behind it
    ready = np.arange(streams)[::-1].copy()
    count = streams
    while count > 0:
        count -= 1
        stream = ready[count]
        node, last = reached[stream], first[stream + 1]
        now = end_s[node - 1] if node > first[stream] else 0.0
        missing = -1
        while node < last:
            at = now
            for edge in range(edge_first[node], edge_first[node + 1]):
                source = edge_from[edge]
                arrives = end_s[source]
                if arrives < 0.0:
                    missing = source
                    break
                arrives += lag[edge_class[edge]]
                if arrives > at:
                    at = arrives
            if missing >= 0:
                break
            now = at + cost[cost_class[node]]
            start_s[node] = at
            end_s[node] = now
            node += 1
        reached[stream] = node
        waiter, waiters[stream] = waiters[stream], -1
        while waiter >= 0:
            behind = following[waiter]
            if needs[waiter] < node:
                ready[count] = waiter
                count += 1
            else:
                following[waiter], waiters[stream] = waiters[stream], waiter
            waiter = behind
        if missing >= 0:
            owner = np.searchsorted(first, missing, side="right") - 1
            needs[stream] = missing
            following[stream], waiters[owner] = waiters[owner], stream
    return reached
