"""Random programs of nodes on streams, and their times by going over the nodes in the order they were drawn in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from lab_utils.timeline.simulator.program import Program


@dataclass(frozen=True)
class Drawn:
    """Nodes as they were drawn, each after those that it needs: its stream, its class and [(node, class of lag)]."""

    streams: int
    stream: tuple[int, ...]
    cost_class: tuple[int, ...]
    needs: tuple[tuple[tuple[int, int], ...], ...]
    cost: tuple[float, ...]
    lag: tuple[float, ...]

    @property
    def place_of(self) -> list[int]:
        """Where each node stands in the program: streams one after the other."""
        order = sorted(range(len(self.stream)), key=lambda node: (self.stream[node], node))
        return [order.index(node) for node in range(len(order))]

    def program(self, more: tuple[tuple[int, int], ...] = ()) -> Program:
        """`more`: further edges (from, to), which no order need allow."""
        places, edges = self.place_of, [list(needs) for needs in self.needs]
        for source, node in more:
            edges[node].append((source, 0))
        order = sorted(range(len(places)), key=places.__getitem__)
        flat = [(places[source], lag) for node in order for source, lag in edges[node]]
        return Program(
            np.array([sum(s < stream for s in self.stream) for stream in range(self.streams + 1)], np.int64),
            np.array([self.cost_class[node] for node in order], np.int32),
            np.cumsum([0, *(len(edges[node]) for node in order)]).astype(np.int32),
            np.array([source for source, _ in flat], np.int32),
            np.array([lag for _, lag in flat], np.uint8),
        )

    def before(self, node: int) -> list[int]:
        """The node before it on its stream, if there is one."""
        return [other for other in range(node) if self.stream[other] == self.stream[node]][-1:]

    def times(self) -> tuple[list[float], list[float]]:
        """Start and end of each node, in the program's order."""
        starts_s, ends_s = [], []
        for node, needs in enumerate(self.needs):
            arrivals_s = [ends_s[source] + self.lag[lag] for source, lag in needs]
            starts_s.append(max([0.0, *arrivals_s, *(ends_s[other] for other in self.before(node))]))
            ends_s.append(starts_s[node] + self.cost[self.cost_class[node]])
        order = sorted(range(len(starts_s)), key=self.place_of.__getitem__)
        return [starts_s[node] for node in order], [ends_s[node] for node in order]

    def never(self, source: int, node: int) -> list[int]:
        """Nodes that can never start when an edge from `source` makes `node` wait for itself."""
        lost = {node, source}
        for later in range(node, len(self.stream)):
            if later == node or {*self.before(later), *(need for need, _ in self.needs[later])} & lost:
                lost.add(later)
        return sorted(lost)


seconds = st.just(0.0) | st.floats(1e-9, 1e3)


@st.composite
def drawn_programs(draw: st.DrawFn, least: int = 0) -> Drawn:
    streams = draw(st.integers(1, 5))
    count = draw(st.integers(least, 24))
    cost, lag = draw(st.lists(seconds, min_size=1, max_size=5)), draw(st.lists(seconds, min_size=1, max_size=3))
    stream = tuple(draw(st.integers(0, streams - 1)) for _ in range(count))
    cost_class = tuple(draw(st.integers(0, len(cost) - 1)) for _ in range(count))
    lags = st.integers(0, len(lag) - 1)
    needs = tuple(
        tuple(draw(st.lists(st.tuples(st.integers(0, node - 1), lags), max_size=3)) if node else ())
        for node in range(count)
    )
    return Drawn(streams, stream, cost_class, needs, tuple(cost), tuple(lag))
