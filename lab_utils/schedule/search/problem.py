"""The search problem as arrays for the compiled loops: stage layout, costs, memory and objective."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lab_utils.schedule.costs import BACKWARDS, Costs
from lab_utils.schedule.schedule import BW, Schedule
from lab_utils.schedule.validity import limits_of

STAGE_LAYOUTS = ("line", "v", "loop")
OBJECTIVES = ("makespan", "bubble_rate")


@dataclass(frozen=True, eq=False)
class Problem:
    """p ranks with v virtual stages each, S = p v stages of the model, m micro-batches.

    stages_of   int64[p, v]: stages of each rank, in model order
    owner       int64[S]: rank of each stage
    cost        float64[3, S]: of F, B, W
    comm        latency between ranks
    weight      float64[S]: memory of a micro-batch on its rank from F to the end of W
    kept        fraction of weight that stays from the end of B to the end of W
    limit       float64[p]: memory limit per rank
    offset      float64[p]: the search minimises the maximum over ranks of end - offset
    """

    stage_layout: str
    objective: str
    microbatches: int
    stages_of: np.ndarray
    owner: np.ndarray
    cost: np.ndarray
    comm: float
    weight: np.ndarray
    kept: float
    limit: np.ndarray

    @property
    def ranks(self) -> int:
        return len(self.stages_of)

    @property
    def virtual_stages(self) -> int:
        return self.stages_of.shape[1]

    @property
    def stages(self) -> int:
        return len(self.owner)

    @cached_property
    def hop(self) -> np.ndarray:
        """float64[S]: latency from a stage to the next, 0 on the same rank and after the last."""
        return np.append(np.where(np.diff(self.owner), self.comm, 0.0), 0.0)

    @cached_property
    def arrives(self) -> np.ndarray:
        """float64[S]: earliest time at which a micro-batch can reach each stage."""
        return np.concatenate(([0.0], np.cumsum(self.cost[0] + self.hop)[:-1]))

    @cached_property
    def offset(self) -> np.ndarray:
        """float64[p]: 0 for the makespan; a rank's earliest start for the bubble rate."""
        begins = self.arrives[self.stages_of[:, 0]]
        return begins if self.objective == "bubble_rate" else np.zeros(self.ranks)

    @cached_property
    def work(self) -> np.ndarray:
        """float64[p]: time of one micro-batch's F, B and W on each rank."""
        return self.cost.sum(0)[self.stages_of].sum(1)

    @property
    def model(self) -> tuple:
        return self.stages_of, self.owner, self.cost, float(self.comm)

    @property
    def room(self) -> tuple:
        """Memory arguments of the compiled loops, with slack on the limits for floating-point error."""
        return self.weight, self.kept, self.limit * (1 + 1e-9)

    @classmethod
    def of(
        cls,
        ranks: int,
        microbatches: int,
        costs: Costs,
        stage_layout: str,
        virtual_stages: int,
        objective: str,
        limit,
        kept: float,
    ) -> Problem:
        """Build from the arguments of `search`. ValueError, in one sentence, for impossible ones."""
        stages_of = placed_stages(ranks, stage_layout, virtual_stages)
        stages = stages_of.size
        owner = np.empty(stages, np.int64)
        owner[stages_of] = np.arange(ranks)[:, None]
        names = ("forward", *BACKWARDS)
        cost = np.array([_numbers(costs.of_stages(name, stages), name) for name in names])
        _numbers(np.array([costs.comm]), "comm")
        counted = costs.activation_bytes is None
        weight = np.full(stages, ranks / stages) if counted else costs.of_stages("activation_bytes", stages).copy()
        _numbers(weight, "activation_bytes", above=True)
        whole = weight[stages_of].sum(1)
        most = microbatches * whole
        limit = most if limit is None else np.minimum(_limits(limit, ranks), most)
        least = whole[short[0]] if len(short := np.flatnonzero(limit * (1 + 1e-9) < whole)) else 0.0
        if least:
            unit = "micro-batches" if counted else "bytes"
            raise ValueError(
                f"rank {short[0]} may hold {limit[short[0]]:g} {unit}, and one micro-batch on its way takes {least:g}: "
                "raise the limit, or cut the micro-batches smaller"
            )
        return cls(stage_layout, objective, microbatches, stages_of, owner, cost, costs.comm, weight, kept, limit)

    def codes(self, schedule: Schedule) -> np.ndarray:
        """int64[p, 3 v m]: a schedule's order as codes of the compiled loops; BW becomes B and W."""
        virtual_stage = np.empty(self.stages, np.int64)
        virtual_stage[self.stages_of] = np.arange(self.virtual_stages)
        both = schedule.kind == BW
        kind = np.where(both, 1, schedule.kind).astype(np.int64)
        at = np.repeat(np.arange(len(schedule)), 1 + both)
        kind, virtual_stage = kind[at], virtual_stage[schedule.stage[at]]
        kind[1:][(at[1:] == at[:-1])] = 2
        return np.ascontiguousarray((kind * self.virtual_stages + virtual_stage).reshape(self.ranks, -1))

    def schedule(self, name: str, orders: np.ndarray) -> Schedule:
        """Convert codes to a schedule, with micro-batches in turn."""
        p, n = orders.shape
        kind, virtual_stage = np.divmod(orders, self.virtual_stages)
        stage = np.take_along_axis(self.stages_of, virtual_stage, 1)
        which = (kind * self.stages + stage).ravel()
        by_kind = np.argsort(which, kind="stable")
        microbatch = np.empty(which.size, np.int32)
        microbatch[by_kind] = np.tile(np.arange(self.microbatches), which.size // self.microbatches)
        first = np.arange(p + 1, dtype=np.int64) * n
        columns = kind.ravel().astype(np.uint8), stage.ravel().astype(np.int32), microbatch
        return Schedule(name, self.stages, self.microbatches, first, *columns)


def placed_stages(ranks: int, stage_layout: str, virtual_stages: int) -> np.ndarray:
    """Return int64[ranks, virtual_stages]: one stage per rank in a line, two in a V, round-robin in a loop."""
    rank = np.arange(ranks, dtype=np.int64)
    if stage_layout == "line":
        return rank[:, None].copy()
    if stage_layout == "v":
        return np.stack([rank, 2 * ranks - 1 - rank], 1)
    return rank[:, None] + ranks * np.arange(virtual_stages, dtype=np.int64)


def _numbers(values: np.ndarray, name: str, above: bool = False) -> np.ndarray:
    """Return the values as float64. ValueError unless all are finite and >= 0, or > 0 if `above`."""
    for at in np.flatnonzero(~(np.isfinite(values) & (values >= 0)) | (above & (values == 0)))[:1]:
        raise ValueError(f"{name} {at} is {values[at]:g}: it must be a number {'above 0' if above else 'of 0 or more'}")
    return values.astype(np.float64)


def _limits(limit, ranks: int) -> np.ndarray:
    given = limits_of(limit, ranks).copy()
    if not (given > 0).all():
        raise ValueError(f"a limit of activations is {given.min():g}: it must be a number above 0")
    return given
