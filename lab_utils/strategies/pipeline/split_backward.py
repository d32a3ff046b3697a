"""Splits the backward in two: first the gradient of a stage's input (B), later that of its weights (W).

Qi et al. 2024, "Zero Bubble Pipeline Parallelism" (ICLR), section 2. The autograd graph left by the forward is cut
where weights enter. B runs only the nodes that lead to the input, and keeps the gradient that arrives at each cut;
W runs, from each cut, only the nodes that lead to the weights. So every product is computed once:

    y = x W       B: gradient of x = gradient of y · Wᵀ     W: gradient of W = xᵀ · gradient of y

Where the split costs more: nodes between two uses of one weight inside one stage run twice, and
torch.utils.checkpoint recomputes its forward for B and again for each layer's W.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

Gradients = tuple[Tensor | None, ...]


@dataclass(eq=False)
class Cut:
    """A place where weights enter the graph, and the gradients that arrived there.

    arrived   at nodes on the way to the input
    leaves    the weights, as the nodes that accumulate their gradients
    given     at outputs that no input leads to
    """

    arrived: dict[Node, Gradients]
    leaves: frozenset[Node]
    given: tuple[tuple[GradientEdge, Tensor], ...] = ()

    def run(self) -> None:
        """Accumulate the gradients of the weights."""
        kept = [(GradientEdge(n, i), g) for n, arrived in self.arrived.items() for i, g in enumerate(arrived)]
        flowing = [(edge, gradient) for edge, gradient in (*kept, *self.given) if gradient is not None]
        if not flowing:
            return
        hooks = self._keep_to_what_arrived() if len(self.arrived) > 1 else []
        edges, gradients = zip(*flowing, strict=True)
        weights = [leaf.variable for leaf in self.leaves]
        try:
            torch.autograd.backward(edges, gradients, inputs=weights, retain_graph=True)  # its owner frees the graph
        finally:
            for hook in hooks:
                hook.remove()

    def _keep_to_what_arrived(self) -> list[torch.utils.hooks.RemovableHandle]:
        """Fix the gradients of all nodes: one node may be behind another, whose contribution has already arrived."""
        return [node.register_prehook(lambda _, kept=arrived: kept) for node, arrived in self.arrived.items()]

    def joined(self, other: Cut) -> Cut:
        return Cut(self.arrived | other.arrived, self.leaves | other.leaves, self.given + other.given)


def backward_input(
    outputs: Sequence[GradientEdge], gradients: Sequence[Tensor], inputs: Sequence[GradientEdge]
) -> tuple[Gradients, list[Cut]]:
    """Return the gradients of the inputs, None for unused ones, and the cuts left to run for the weights."""
    order = _children_first([edge.node for edge in outputs])
    leading = _leading(order, {edge.node for edge in inputs})
    leaves = _leaves(order, leading)
    given = list(zip(outputs, gradients, strict=True))
    places = {node: behind for node in order if node in leading and (behind := _behind(node, leaves))}
    found, arrived = _gradients([each for each in given if each[0].node in leading], inputs, places)
    cuts = [Cut({node: arrived[node]}, behind) for node, behind in places.items()]
    aside = [each for each in given if each[0].node not in leading]
    cuts += [Cut({}, leaves[edge.node], ((edge, gradient),)) for edge, gradient in aside if leaves[edge.node]]
    return found, _joined(cuts)


def _gradients(
    given: Sequence[tuple[GradientEdge, Tensor]], inputs: Sequence[GradientEdge], nodes: Collection[Node]
) -> tuple[Gradients, dict[Node, Gradients]]:
    """Return the gradients that arrive at the inputs and at the nodes."""
    widths = {node: len(node._input_metadata) for node in nodes}
    wanted = [*inputs, *(GradientEdge(node, i) for node, width in widths.items() for i in range(width))]
    if not given:
        return (None,) * len(inputs), {node: (None,) * width for node, width in widths.items()}
    outputs, gradients = zip(*given, strict=True)
    found = torch.autograd.grad(outputs, wanted, gradients, retain_graph=True, allow_unused=True)
    rest = iter(found[len(inputs) :])
    return found[: len(inputs)], {node: tuple(islice(rest, width)) for node, width in widths.items()}


def _children_first(roots: Sequence[Node]) -> list[Node]:
    """Return all nodes in topological order: each after those that it passes gradients to."""
    order, seen = [], set()
    stack = [(root, False) for root in roots]
    while stack:
        node, below_is_done = stack.pop()
        if below_is_done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(below, False) for below, _ in node.next_functions if below is not None]
    return order


def _leading(order: Sequence[Node], targets: set[Node]) -> set[Node]:
    """Return the nodes on the way to a target, targets included."""
    leading: set[Node] = set()
    for node in order:
        if node in targets or any(below in leading for below, _ in node.next_functions):
            leading.add(node)
    return leading


def _leaves(order: Sequence[Node], leading: set[Node]) -> dict[Node, frozenset[Node]]:
    """Return the weights behind each node that leads to no target."""
    leaves: dict[Node, frozenset[Node]] = {}
    for node in order:
        if node not in leading:
            own = frozenset([node]) if hasattr(node, "variable") else frozenset()
            leaves[node] = own.union(*(leaves[below] for below, _ in node.next_functions if below is not None))
    return leaves


def _behind(node: Node, leaves: dict[Node, frozenset[Node]]) -> frozenset[Node]:
    """Return the weights that enter at this node."""
    return frozenset().union(*(leaves[below] for below, _ in node.next_functions if below in leaves))


def _joined(cuts: Sequence[Cut]) -> list[Cut]:
    """Join cuts that share a weight, so that the nodes from them to it run once."""
    joined: list[Cut] = []
    for cut in cuts:
        for other in [other for other in joined if other.leaves & cut.leaves]:
            joined.remove(other)
            cut = other.joined(cut)
        joined.append(cut)
    return joined
