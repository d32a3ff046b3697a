"""The simulator's program: nodes on streams, edges between them, and the time at which each node runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Program:
    """n nodes on S streams and k edges between nodes of different streams; costs and lags are kept separately.

    A stream runs its nodes in order. A node starts when the previous node of its stream has ended and every edge into
    it has arrived: at the end of its source node plus its lag.

    first        int64[S+1]   nodes of stream s are first[s] .. first[s+1] - 1
    cost_class   int32[n]     node i lasts cost[cost_class[i]] seconds
    edge_first   int32[n+1]   edges into node i are edge_first[i] .. edge_first[i+1] - 1
    edge_from    int32[k]     source node of the edge
    edge_class   uint8[k]     the edge takes lag[edge_class[e]] seconds
    """

    first: np.ndarray
    cost_class: np.ndarray
    edge_first: np.ndarray
    edge_from: np.ndarray
    edge_class: np.ndarray

    @property
    def nodes(self) -> int:
        return len(self.cost_class)

    @property
    def streams(self) -> int:
        return len(self.first) - 1

    @cached_property
    def stream(self) -> np.ndarray:
        """int64[n]: the stream of each node."""
        return np.repeat(np.arange(self.streams), np.diff(self.first))


class Circle(ValueError):
    """Deadlock: nodes wait for each other in a circle. `blocked`: the first waiting node of each blocked stream."""

    def __init__(self, blocked: np.ndarray) -> None:
        super().__init__(f"{len(blocked)} streams wait for each other in a circle: no order exists")
        self.blocked = blocked


@dataclass(frozen=True, eq=False)
class Times:
    """Start and end of each node of a program: start_s and end_s, float64[n] seconds."""

    program: Program
    cost: np.ndarray
    lag: np.ndarray
    start_s: np.ndarray
    end_s: np.ndarray

    @cached_property
    def makespan_s(self) -> float:
        """The latest end; time starts at 0."""
        return float(self.end_s.max()) if self.program.nodes else 0.0

    @cached_property
    def critical_path(self) -> tuple[int, ...]:
        """The chain of nodes without a gap that ends last, in order.

        Their costs and lags add up to the makespan: shortening any other node does not change it.
        """
        if not self.program.nodes:
            return ()
        node, path = int(np.argmax(self.end_s)), []
        while node >= 0:
            path.append(node)
            node = self._decided_by(node)
        return tuple(reversed(path))

    def _decided_by(self, node: int) -> int:
        """The node whose end determined this start, -1 if none; prefers the previous node of the stream."""
        p, start_s = self.program, self.start_s[node]
        if node > p.first[p.stream[node]] and self.end_s[node - 1] == start_s:
            return node - 1
        for edge in range(p.edge_first[node], p.edge_first[node + 1]):
            if self.end_s[p.edge_from[edge]] + self.lag[p.edge_class[edge]] == start_s:
                return int(p.edge_from[edge])
        return -1


def place(program: Program, cost: np.ndarray, lag: np.ndarray | None = None) -> Times:
    """Place every node in time. Deterministic: the same program, costs and lags give the same bits on any machine.

    cost   float64[classes], seconds; lag float64[edge classes], seconds, all 0 when None

    Linear in nodes and edges, in time and memory. Circle, a ValueError, when nodes wait for each other in a circle;
    ValueError when a cost or lag is missing, negative or not finite.
    """
    from lab_utils.timeline.simulator.placing_loop import run  # numba takes a third of a second to load

    cost = _checked("cost", cost, program.cost_class)
    lag = _checked("lag", np.zeros(_classes(program.edge_class)) if lag is None else lag, program.edge_class)
    start_s, end_s = np.empty(program.nodes), np.empty(program.nodes)
    reached = run(
        program.first, program.cost_class, program.edge_first, program.edge_from, program.edge_class, cost, lag,
        start_s, end_s,
    )  # fmt: skip
    if len(blocked := reached[reached < program.first[1:]]):
        raise Circle(blocked)
    return Times(program, cost, lag, start_s, end_s)


def _classes(used: np.ndarray) -> int:
    return int(used.max()) + 1 if len(used) else 0


def _checked(name: str, table: np.ndarray, used: np.ndarray) -> np.ndarray:
    table = np.ascontiguousarray(table, dtype=np.float64)
    if len(table) < _classes(used):
        raise ValueError(f"{_classes(used)} classes of {name} are used, and {len(table)} are given")
    if not (np.isfinite(table) & (table >= 0)).all():
        wrong = int(np.flatnonzero(~(np.isfinite(table) & (table >= 0)))[0])
        raise ValueError(f"{name} {wrong} is {table[wrong]}: seconds must be a number, 0 or more")
    return table
