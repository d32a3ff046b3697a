"""What ops cost by the specification, one at a time in plain Python: the roofline, and alpha-beta of each algorithm."""

from __future__ import annotations

from collections import Counter

from lab_utils.timeline import Op
from lab_utils.timeline.hardware import Hardware

Legs = list[tuple[float, float]]  # rounds and bytes, within a node and then across nodes


def compute_s(op: Op, hardware: Hardware) -> float:
    """Kernels with FLOPs by the roofline, the others by the bytes they move, each later by its launch."""
    device = hardware.device
    if device is None:
        measured_s = 0.0 if op.issue_s is None or op.done_s is None else op.done_s - op.issue_s
        return measured_s * hardware.compute_scale
    with_flops_s = max(op.flops / device.flops_per_s, op.bytes / device.memory_bytes_per_s)
    others_s = op.other_bytes / device.memory_bytes_per_s
    return (with_flops_s + others_s + op.kernels * device.launch_s) * hardware.compute_scale


def wire_s(sides: list[Op], hardware: Hardware) -> float:
    """All sides of one op on the wire → how long it is on its way."""
    op = sides[0]
    if op.kind != "collective":
        members = {op.rank, op.peer}
        return alpha_beta_s("message", max(side.bytes for side in sides), members, hardware)
    sizes = [side.bytes for side in sides]
    whole = sum(sizes) if op.name in ("all_gather", "gather") else max(sizes)
    return alpha_beta_s(op.name, whole, set(op.ranks), hardware)


def alpha_beta_s(name: str, size_bytes: int, members: set[int], hardware: Hardware) -> float:
    """Latency for each round and bandwidth for each byte; by the algorithm asked for, where it is one for the op."""
    if len(members) == 1:
        return 0.0
    choices = {
        algorithm: _time_s(legs, hardware, algorithm == "rings")
        for algorithm, legs in _legs(name, size_bytes, members, hardware)
    }
    return choices.get(hardware.algorithm, min(choices.values()))


def _time_s(legs: Legs, hardware: Hardware, at_once: bool) -> float:
    links = hardware.link, hardware.across or hardware.link
    if at_once:
        latency_s = sum(rounds * link.latency_s for (rounds, _), link in zip(legs, links, strict=True))
        return latency_s + max(moved / link.bytes_per_s for (_, moved), link in zip(legs, links, strict=True))
    time_s = 0.0
    for (rounds, moved_bytes), link in zip(legs, links, strict=True):
        if rounds:
            time_s = time_s + rounds * link.latency_s + moved_bytes / link.bytes_per_s
    return time_s


def _legs(name: str, size_bytes: int, members: set[int], hardware: Hardware) -> list[tuple[str, Legs]]:
    n, per_node = len(members), hardware.ranks_per_node
    on_node = Counter(0 if per_node is None else rank // per_node for rank in members)
    found = []
    shapes = {
        "ring": _ring(name, n, size_bytes),
        "tree": _tree(name, n, size_bytes),
        "gloo": _gloo(name, n, size_bytes),
    }
    for algorithm, shape in shapes.items():
        if shape is not None:
            found.append((algorithm, [(0, 0), shape] if len(on_node) > 1 else [shape, (0, 0)]))
    m, nodes = on_node[min(on_node)], len(on_node)
    passes = {"all_reduce": 2, "reduce_scatter": 1, "all_gather": 1}.get(name)
    if passes and nodes > 1 and m > 1 and len(set(on_node.values())) == 1:
        inside = passes * (m - 1), passes * (m - 1) / m * size_bytes
        across = passes * (nodes - 1), passes * (nodes - 1) / nodes * size_bytes / m
        found.append(("two_level", [inside, across]))
    if passes:
        rounds, moved = _ring(name, n, size_bytes)
        found.append(("rings", [(rounds, moved), (0, 0)] if nodes == 1 else _rings(rounds, moved, [*on_node.values()])))
    return found


def _rings(rounds: float, moved: float, members: list[int]) -> Legs:
    """The k-th rank of each node has the link across of the k-th ring; of all ranks, the one with most hops inside."""
    rings = min(members)
    hops_inside = max(rings - (k < rings) for of_node in members for k in range(of_node))
    return [(0, hops_inside * moved / rings), (rounds, moved / rings)]


def _ring(name: str, n: int, size_bytes: int) -> tuple[float, float] | None:
    if name == "message":
        return 1, size_bytes
    if name == "barrier":
        return None
    passes = 2 if name in ("all_reduce", "broadcast", "reduce") else 1
    return passes * (n - 1), passes * (n - 1) / n * size_bytes


def _gloo(name: str, n: int, size_bytes: int) -> tuple[float, float] | None:
    """A ring, but for what torch's gloo does by a tree, and a reduce-scatter, which is an all-reduce there."""
    if name in ("broadcast", "barrier"):
        return _tree(name, n, size_bytes)
    return _ring("all_reduce" if name == "reduce_scatter" else name, n, size_bytes)


def _tree(name: str, n: int, size_bytes: int) -> tuple[float, float] | None:
    depth = next(levels for levels in range(n) if 2**levels >= n)
    match name:
        case "all_reduce":
            return 2 * depth, 2 * depth * size_bytes
        case "broadcast" | "reduce":
            return depth, depth * size_bytes
        case "barrier":
            return 2 * depth, 0
    return None
