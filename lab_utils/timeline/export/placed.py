"""The interface of a timeline that exporters read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from lab_utils.timeline.memory import Memory
from lab_utils.timeline.ops import Op, Phase
from lab_utils.timeline.span import Columns


class Placed(Protocol):
    """A Timeline, as a protocol: Timeline imports its exporters, not the reverse."""

    world_size: int
    kind: str
    phases: tuple[tuple[Phase, ...], ...]
    prediction: Any

    @property
    def ops(self) -> Sequence[Op]: ...
    @property
    def columns(self) -> Columns: ...
    @property
    def memory(self) -> tuple[Memory, ...] | None: ...
    @property
    def start_s(self) -> float: ...
    @property
    def makespan_s(self) -> float: ...
    @property
    def bubble_fraction(self) -> float: ...
    @property
    def exposed_comm_s(self) -> float: ...
    @property
    def compute_by_rank_s(self) -> tuple[float, ...]: ...
    @property
    def exposed_comm_by_rank_s(self) -> tuple[float, ...]: ...
    @property
    def waiting_by_rank_s(self) -> tuple[float, ...]: ...
    @property
    def idle_by_rank_s(self) -> tuple[float, ...]: ...
