"""Devices, links and hardware: the cost model of kernels and ops on the wire."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite
from typing import Literal

import numpy as np

from lab_utils.timeline.hardware.collective_costs import ALGORITHMS, AT_ONCE

Algorithm = Literal["best", "ring", "tree", "gloo", "two_level", "rings"]


@dataclass(frozen=True, slots=True)
class Device:
    """The accelerator or CPU of one rank.

    flops_per_s         reached by large matrix products, not the data sheet's peak
    memory_bytes_per_s  reached by kernels without FLOPs
    launch_s            overhead per kernel
    issue_s             time to issue an op to the wire
    memory_bytes        capacity; None: unknown
    """

    name: str
    flops_per_s: float
    memory_bytes_per_s: float
    launch_s: float = 0.0
    issue_s: float = 0.0
    memory_bytes: int | None = None
    source: str = ""

    def __post_init__(self) -> None:
        _require(self, positive=("flops_per_s", "memory_bytes_per_s"), other=("launch_s", "issue_s"))


@dataclass(frozen=True, slots=True)
class Link:
    """A link: a message takes latency_s + bytes / bytes_per_s (one direction, one rank)."""

    name: str
    latency_s: float
    bytes_per_s: float
    source: str = ""

    def __post_init__(self) -> None:
        _require(self, positive=("bytes_per_s",), other=("latency_s",))

    def time_s(self, messages: float, size_bytes: float) -> float:
        """Return the time of messages one after the other, of size_bytes in all: alpha-beta, as in `wire_s`."""
        return messages * self.latency_s + size_bytes / self.bytes_per_s


@dataclass(frozen=True, slots=True)
class Hardware:
    """One device per rank and the links between ranks.

    device          None: compute takes as long as measured
    link            between ranks of one node
    ranks_per_node  ranks r with equal r // ranks_per_node share a node; None: all do
    across          link between nodes, per rank (its NIC, or its share of one); required with ranks_per_node
    algorithm       of collectives: "ring" (one, so one NIC per node), "rings" (one per NIC), "tree", "gloo" (as that
                    backend does it), "two_level", or "best", the fastest of them per op
    compute_scale   factor on all compute times
    """

    device: Device | None
    link: Link
    ranks_per_node: int | None = None
    across: Link | None = None
    algorithm: Algorithm = "best"
    compute_scale: float = 1.0

    def __post_init__(self) -> None:
        for name, kind in (("device", Device), ("link", Link), ("across", Link)):
            given = getattr(self, name)
            if not isinstance(given, kind) and (given is not None or name == "link"):
                raise TypeError(f"{name}={given!r}: a {kind.__name__} is needed, such as one of the catalogue's")
        _require(self, positive=("compute_scale",))
        if self.ranks_per_node is not None and (self.ranks_per_node < 1 or self.across is None):
            raise ValueError(
                f"ranks_per_node={self.ranks_per_node}, across={self.across}: nodes have 1 rank or more, and a link "
                "between them"
            )
        if self.algorithm not in ("best", *ALGORITHMS):
            raise ValueError(f"algorithm={self.algorithm!r}: known are best, {', '.join(ALGORITHMS)}")

    @property
    def name(self) -> str:
        across = "" if self.across is None else f", {self.across.name} between nodes of {self.ranks_per_node}"
        links = f"{self.link.name}{across}"
        return f"{links}, computing as measured" if self.device is None else f"{self.device.name}, {links}"

    def with_link(self, **changes: float | str) -> Hardware:
        """Return a copy with changes to the link within nodes: latency_s, bytes_per_s."""
        return replace(self, link=replace(self.link, **changes))

    def with_device(self, **changes: float | str) -> Hardware:
        """Return a copy with changes to the device: flops_per_s, launch_s, ... ValueError when it has none."""
        if self.device is None:
            raise ValueError(f"{self.name}: no device to change, give one")
        return replace(self, device=replace(self.device, **changes))

    @property
    def issue_s(self) -> float:
        return 0.0 if self.device is None else self.device.issue_s

    def compute_s(self, rows: np.ndarray) -> np.ndarray:
        """Compute seconds, float64[c], from rows float64[c, 5] as in `Lowered.compute`.

        Kernels with FLOPs by the roofline (Williams, Waterman and Patterson 2009), the others by the bytes they move.
        """
        flops, flop_bytes, other_bytes, kernels, measured_s = rows.T
        if self.device is None:
            return measured_s * self.compute_scale
        device = self.device
        roofline_s = np.maximum(flops / device.flops_per_s, flop_bytes / device.memory_bytes_per_s)
        return (roofline_s + other_bytes / device.memory_bytes_per_s + kernels * device.launch_s) * self.compute_scale

    def wire_s(self, rows: np.ndarray) -> np.ndarray:
        """Seconds of ops on the wire, float64[w], from rows float64[w, algorithms, 4] of `wire_rows`.

        alpha-beta: latency per round, bandwidth per byte of the busiest rank (Hockney 1994). Bytes inside and across
        follow one another, but for "rings", where the slower link decides.
        """
        across = self.across or self.link
        rounds, size_bytes, rounds_across, bytes_across = np.moveaxis(rows, 2, 0)
        by_algorithm_s = (
            rounds * self.link.latency_s
            + size_bytes / self.link.bytes_per_s
            + rounds_across * across.latency_s
            + bytes_across / across.bytes_per_s
        )
        inside_s, across_s = size_bytes / self.link.bytes_per_s, bytes_across / across.bytes_per_s
        latency_s = rounds * self.link.latency_s + rounds_across * across.latency_s
        by_algorithm_s[:, AT_ONCE] = (latency_s + np.maximum(inside_s, across_s))[:, AT_ONCE]
        if self.algorithm == "best":
            return by_algorithm_s.min(axis=1)
        return self._chosen(by_algorithm_s)

    def _chosen(self, by_algorithm_s: np.ndarray) -> np.ndarray:
        """The chosen algorithm; where it does not support an op (a broadcast by two_level), the fastest that does."""
        chosen_s = by_algorithm_s[:, ALGORITHMS.index(self.algorithm)]
        return np.where(np.isfinite(chosen_s), chosen_s, by_algorithm_s.min(axis=1))


def _require(owner: object, positive: tuple[str, ...], other: tuple[str, ...] = ()) -> None:
    for name in (*positive, *other):
        value = getattr(owner, name)
        if not isfinite(value) or value < 0 or (name in positive and value == 0):
            wanted = "more than 0" if name in positive else "0 or more"
            raise ValueError(f"{name}={value}: {wanted} is needed")
