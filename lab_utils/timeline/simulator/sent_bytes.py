"""Bytes that each rank of a trace sends, collectives as they are counted when strategies are compared."""

from __future__ import annotations

import numpy as np

from lab_utils.timeline.hardware.collective_costs import ALGORITHMS
from lab_utils.timeline.simulator.trace_to_streams import FIRST_COMPUTE, WithProgram

_RING, _TREE = (ALGORITHMS.index(name) for name in ("ring", "tree"))


def sent_bytes(trace: WithProgram) -> np.ndarray:
    """float64[ranks]: bytes sent per rank, with collectives as rings (as trees where there is no ring: a barrier).

    For a collective every rank counts what the busiest rank sends (table: hardware/collective_costs.py), for a message
    the bytes of its send. ValueError for a trace that lacks a side of an op.
    """
    lowered = trace.lowered
    rows = lowered.rows(None)
    of_wire = np.where(np.isfinite(rows[:, _RING, 1]), rows[:, _RING, 1], rows[:, _TREE, 1])
    rank, _, node, number = lowered.wire.T
    ops = [op for ops in trace.ops for op in ops]
    gives = np.array([ops[at].kind != "recv" for at in number.tolist()], bool)
    wire = lowered.program.cost_class[node] - FIRST_COMPUTE - len(lowered.compute)
    return np.bincount(rank[gives], of_wire[wire[gives]], minlength=trace.world_size)
