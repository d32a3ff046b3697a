"""Predict the timeline of a trace on given hardware: deterministic, with the same numbers on any machine."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lab_utils.timeline.hardware import Hardware
from lab_utils.timeline.hardware.naming import hardware_name
from lab_utils.timeline.memory import Memory, memory_of_spans
from lab_utils.timeline.ops import Phase, RankOps
from lab_utils.timeline.simulator.program import Times
from lab_utils.timeline.simulator.trace_to_streams import FIRST_COMPUTE, Lowered, WithProgram
from lab_utils.timeline.span import ACTIVITIES, LANES, Columns, Spans
from lab_utils.timeline.timeline import Timeline

OWN, WIRE = range(len(LANES))
COMPUTE, COMMUNICATION, WAITING = range(len(ACTIVITIES))


@dataclass(frozen=True, eq=False)
class Prediction:
    """The source of a predicted timeline."""

    trace: RankOps
    lowered: Lowered
    times: Times
    hardware: Hardware
    name: str

    def memory(self, spans: Spans) -> tuple[Memory, ...] | None:
        return memory_of_spans(spans, self.trace.world_size, predicted=True)

    def critical_ops(self) -> list[int]:
        """Op numbers on the critical path, in order, without repeats."""
        op_of = dict(zip(self.lowered.own[:, 1].tolist(), self.lowered.own[:, 3].tolist(), strict=True))
        op_of.update(zip(self.lowered.wire[:, 2].tolist(), self.lowered.wire[:, 3].tolist(), strict=True))
        return list(dict.fromkeys(op_of[node] for node in self.times.critical_path))


def simulate(trace: WithProgram, hardware: Hardware, given: Hardware | None = None) -> Timeline:
    """Return the timeline of a trace on this hardware; the trace's own clock is ignored.

    A rank computes, issues ops and blocks on them, one after the other. A collective starts when its last member has
    issued it and the previous one of its group is done; a message when both sides have issued it and the previous one
    with its tag is done. The hardware gives their durations (`Hardware.compute_s`, `Hardware.wire_s`). An asynchronous
    op blocks its rank only at its wait. Not modelled: contention between ops on the wire at the same time. The timeline
    is named after the hardware; `given` is the one that it was changed from.

    ValueError when an op's partner is not in the trace, ranks wait for each other in a circle, or the hardware has a
    device and the kernels were not counted.
    """
    if not isinstance(hardware, Hardware):
        mend = f"catalogue[{hardware!r}]" if isinstance(hardware, str) else 'such as catalogue["H100 node"]'
        raise TypeError(f"a timeline is predicted on Hardware, {mend}, and was given a {type(hardware).__name__}")
    lowered = trace.lowered
    times = lowered.place(costs(lowered, hardware))
    spans = Spans(lambda: _columns(lowered, times), list(trace))
    phases = tuple(tuple(_phases(trace, rank, lowered, times)) for rank in range(trace.world_size))
    made_from = Prediction(trace, lowered, times, hardware, hardware_name(hardware, given))
    return Timeline(trace.world_size, spans, phases, "predicted", made_from)


def costs(lowered: Lowered, hardware: Hardware) -> np.ndarray:
    """float64[classes]: seconds per cost class on this hardware."""
    if hardware.device is not None and lowered.uncounted_s:
        raise ValueError(
            f"{lowered.uncounted_s:.3g} s of computing were recorded without counting kernels: what they take on "
            f"{hardware.device.name} is not known; record with count=True, or predict with device=None"
        )
    head = [0.0, hardware.issue_s]
    wire_s = hardware.wire_s(lowered.rows(hardware.ranks_per_node))
    return np.concatenate((head, hardware.compute_s(lowered.compute), wire_s))


def ready_s(lowered: Lowered, times: Times) -> np.ndarray:
    """float64[n]: when the last rank issued a wire node; 0 for other nodes."""
    p, ready = lowered.program, np.zeros(lowered.program.nodes)
    met = np.unique(lowered.wire[:, 2])
    if len(met):
        starts = p.edge_first[met]
        ready[met] = np.maximum.reduceat(times.end_s[p.edge_from], starts)  # the edges of a node are contiguous
    return ready


def _columns(lowered: Lowered, times: Times) -> Columns:
    ready = ready_s(lowered, times)
    parts = [*_own(lowered, times, ready), *_wire(lowered, times)]
    columns = Columns.joined(parts)
    return columns.take(columns.end_s > columns.start_s).in_order()


def _own(lowered: Lowered, times: Times, ready: np.ndarray) -> Iterator[Columns]:
    rank, node, wire_node, op = lowered.own.T
    begins_s = np.where(node > lowered.program.first[rank], times.end_s[node - 1], 0.0)
    ends_s = times.end_s[node]
    works = wire_node < 0
    computes = lowered.program.cost_class[node] >= FIRST_COMPUTE
    activity = np.where(computes, COMPUTE, COMMUNICATION)[works]
    yield _made(rank[works], OWN, 0, activity, begins_s[works], ends_s[works], op[works])
    blocks = ~works
    turns_s = np.clip(ready[wire_node], begins_s, ends_s)[blocks]
    rank, begins_s, ends_s, op = rank[blocks], begins_s[blocks], ends_s[blocks], op[blocks]
    yield _made(rank, OWN, 0, WAITING, begins_s, turns_s, op)
    yield _made(rank, OWN, 0, COMMUNICATION, turns_s, ends_s, op)


def _wire(lowered: Lowered, times: Times) -> Iterator[Columns]:
    rank, issue, node, op = lowered.wire.T
    issued_s, starts_s, ends_s = times.end_s[issue], times.start_s[node], times.end_s[node]
    track = _tracks(rank, issued_s, ends_s)
    yield _made(rank, WIRE, track, WAITING, issued_s, starts_s, op)
    yield _made(rank, WIRE, track, COMMUNICATION, starts_s, ends_s, op)


def _tracks(rank: np.ndarray, issued_s: np.ndarray, ends_s: np.ndarray) -> np.ndarray:
    """Assign each op the lowest track of its rank that is free at its issue."""
    tracks = np.zeros(len(rank), np.int32)
    free_at: dict[int, list[float]] = {}
    order = np.lexsort((issued_s, rank))
    for at, r, begins_s, end_s in zip(
        order.tolist(), rank[order].tolist(), issued_s[order].tolist(), ends_s[order].tolist(), strict=True
    ):
        frees = free_at.setdefault(r, [])
        track = next((t for t, free_s in enumerate(frees) if free_s <= begins_s), len(frees))
        frees[track : track + 1] = [end_s]
        tracks[at] = track
    return tracks


def _made(rank, lane: int, track, activity, start_s, end_s, op) -> Columns:
    size = len(rank)
    whole = [np.broadcast_to(np.asarray(value), size) for value in (lane, track, activity)]
    return Columns.of(rank, *whole, start_s, end_s, op)


def _phases(trace: RankOps, rank: int, lowered: Lowered, times: Times) -> Iterator[Phase]:
    """The recorded phases of a rank, each from the start of its first op to the end of its last."""
    for name, first, last in phase_nodes(trace, rank, lowered):
        start_s = times.end_s[first - 1] if first > lowered.program.first[rank] else 0.0
        yield Phase(rank, name, float(start_s), float(times.end_s[last]))


def phase_nodes(trace: RankOps, rank: int, lowered: Lowered) -> Iterator[tuple[str, int, int]]:
    """(name, first node, last node) of each non-empty recorded phase of a rank.

    Ops are assigned to phases by their issue times; without those there are no phases.
    """
    issued_s = [op.issue_s for op in trace.ops[rank]]
    if len(trace.phases) <= rank or None in issued_s:
        return
    before = sum(map(len, trace.ops[:rank]))
    mine = lowered.own[:, 0] == rank
    turn, node = lowered.turn[mine], lowered.own[mine, 1]
    for phase in trace.phases[rank]:
        bounds = [before + bisect_left(issued_s, at_s) for at_s in (phase.start_s, phase.end_s)]
        first, last = np.searchsorted(turn, bounds).tolist()
        if first < last:
            yield phase.name, int(node[first]), int(node[last - 1])
