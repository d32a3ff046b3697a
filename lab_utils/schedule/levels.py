"""Levels of placing ops by hand, each with a par that a schedule of this room or its search reaches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lab_utils.schedule.costs import Costs, simulate
from lab_utils.schedule.draft import Draft
from lab_utils.schedule.ops import BW, B, W
from lab_utils.schedule.schedule import Schedule
from lab_utils.schedule.schedules import BY_NAME
from lab_utils.schedule.search.bound import Bound
from lab_utils.schedule.search.problem import placed_stages
from lab_utils.schedule.search.search import CLOSE, NAMED, Found, search
from lab_utils.schedule.validity import why_not
from lab_utils.text import Named

ROUNDING = 1e-9  # relative: floating-point error of the sums


@dataclass(frozen=True)
class Level:
    """An instance to solve by hand: all ops placed, in a makespan of at most `par`, within the limit.

    costs      of a full stage, and of a message
    limit      micro-batches of a full stage that a rank may hold; None: no limit
    whole      a backward is one op, BW; else B and W may be apart
    solved_by  the schedule whose order is the solution; "": the search's
    against    the schedule with one stage per rank that the goal is compared with; "": one micro-batch at a time
    """

    name: str
    ranks: int
    microbatches: int
    solved_by: str = ""
    against: str = ""
    stage_layout: str = "line"
    virtual_stages: int = 1
    costs: Costs = Costs()
    limit: float | None = None
    whole: bool = False

    @cached_property
    def solution(self) -> Schedule:
        """An order that reaches par."""
        if not self.solved_by:
            return joined(self.found.schedule) if self.whole else self.found.schedule
        more = (self.virtual_stages,) if self.solved_by in NAMED["loop"] else ()
        return BY_NAME[self.solved_by](self.ranks, self.microbatches, *more)

    @cached_property
    def par(self) -> float:
        """The solution's makespan, in the unit of the costs."""
        return self.makespan(self.solution)

    @cached_property
    def before(self) -> float:
        """The makespan of the schedule that the goal is compared with, whatever it holds."""
        if self.against:
            return self.makespan(BY_NAME[self.against](self.ranks, self.microbatches))
        one_at_a_time = " ".join(f"F{number} BW{number}" for number in range(self.microbatches))
        return self.makespan(Schedule.of("one at a time", [one_at_a_time] * self.ranks))

    @cached_property
    def found(self) -> Found:
        """The shortest order that the search finds of those that the level allows, and the bound."""
        costs = self.costs.divided(self.virtual_stages)
        if self.whole:  # a W that takes no time is best right behind its B
            both = costs.backward_input + costs.backward_weight
            costs = Costs(costs.forward, both, 0.0, costs.comm)
        sizes = self.ranks, self.microbatches, costs, self.limit
        return search(*sizes, stage_layout=self.stage_layout, virtual_stages=self.virtual_stages)

    @property
    def bound(self) -> Bound:
        return self.found.bound

    @property
    def is_proven(self) -> bool:
        """Whether no order that the level allows is shorter than par."""
        return self.par <= self.bound.length * (1 + CLOSE)

    def makespan(self, order: Draft) -> float:
        return simulate(order, self.costs.divided(order.virtual_stages)).makespan_s

    def is_reached(self, order: Draft) -> bool:
        """Whether the order is one of this level's, complete, within the limit, and no longer than par."""
        stages_of = placed_stages(self.ranks, self.stage_layout, self.virtual_stages)
        if (order.ranks, order.stages, order.microbatches) != (self.ranks, stages_of.size, self.microbatches):
            return False
        if self.whole and np.isin(order.kind, (B, W)).any():
            return False
        if why_not(order, limit=self.limit) or order.stages_of_rank != tuple(map(tuple, stages_of.tolist())):
            return False
        return self.makespan(order) <= self.par * (1 + ROUNDING)


def joined(schedule: Schedule) -> Schedule:
    """Return the order with each B and its W as one op, BW, at the place of B."""
    orders = [
        [(BW if kind == B else kind, stage, microbatch) for kind, stage, microbatch in steps if kind != W]
        for steps in schedule.steps
    ]
    return Schedule.of_steps(schedule.name, orders, schedule.stages, schedule.microbatches)


LEVELS = Named("level", {
    level.name: level
    for level in (
        Level("gpipe", 3, 4, "gpipe", whole=True),
        Level("memory", 3, 4, against="gpipe", limit=2.0, whole=True),
        Level("one_f_one_b", 3, 5, "one_f_one_b", "gpipe", limit=3.0, whole=True),
        Level("interleaved", 2, 4, "interleaved", "one_f_one_b", "loop", 2, limit=2.5, whole=True),
        Level("two_parts", 2, 3, "zb_h1", "one_f_one_b"),
        Level("zb_h1", 3, 4, "zb_h1", "one_f_one_b", limit=3.0),
        Level("v", 2, 3, "zb_v", "zb_h1", "v", 2, limit=2.0),
        Level("messages", 2, 4, "zb_h2", "zb_h1", costs=Costs(comm=1.0), limit=3.0),
    )
})  # fmt: skip


def after(name: str) -> str:
    """Return the name of the next level; "" after the last."""
    names = list(LEVELS)
    return next(iter(names[names.index(name) + 1 :]), "")
