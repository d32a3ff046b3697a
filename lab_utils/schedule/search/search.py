"""Search for the shortest schedule under given costs and memory, with a lower bound.

>>> from lab_utils.schedule import Costs
>>> found = search(ranks=4, microbatches=8, costs=Costs(2, 2, 1), limit=4)
>>> found.makespan, found.bound.length, found.bound.because
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from lab_utils.schedule import schedules
from lab_utils.schedule.costs import Costs
from lab_utils.schedule.schedule import Schedule, check_sizes
from lab_utils.schedule.search.bound import Bound, forwards_first, least
from lab_utils.schedule.search.dispatch_rules import Draws, Rules, textbook
from lab_utils.schedule.search.problem import OBJECTIVES, STAGE_LAYOUTS, Problem

NAMED = {
    "line": ("gpipe", "one_f_one_b", "zb_h1", "zb_h2"),
    "v": ("zb_v", "v_half", "v_min", "dualpipe_v"),
    "loop": ("interleaved", "looped_bfs"),
}
OPS = 2_000_000  # budget of ops to place in the search over rules; a core does about 6 million per second
TRIES = 400, 10_000  # minimum and maximum of tries over rules
MOVES = 4  # moves per try over rules; a move takes a quarter as long
PIECE_OPS = 300_000  # ops between two progress reports: about a twentieth of a second
CLOSE = 1e-6  # relative to the bound: its slack for rounding


class Progress(NamedTuple):
    """Progress of a search, 0 to 1, and the best length so far."""

    part: float
    length: float


@dataclass(frozen=True, eq=False)
class Found:
    """The best schedule found, and a lower bound.

    schedule    the schedule; its ops are F, B and W
    objective   "makespan" or "bubble_rate": what was minimised
    length      the makespan, or the longest span of a rank, in the unit of the costs
    bound       lower bound on the length of any order within the limit, and its reason
    named       length of each named schedule of this layout that fits the limit
    peaks       peak memory per rank, in the unit of the limit
    tries       number of orders evaluated
    """

    schedule: Schedule
    objective: str
    length: float
    bound: Bound
    named: dict[str, float]
    peaks: tuple[float, ...]
    tries: int
    problem: Problem = field(repr=False)

    @property
    def gap(self) -> float:
        """Excess over the bound, relative to it: 0 is proven optimal."""
        return max(0.0, self.length / self.bound.length - 1) if self.bound.length else 0.0

    @property
    def bubble_rate(self) -> float:
        """1 - work of the busiest rank / length: the zero-bubble papers' bubble rate, or the same of the makespan."""
        return self._rate(self.length)

    @property
    def least_bubble_rate(self) -> float:
        """The bubble rate at the bound's length."""
        return self._rate(self.bound.length)

    def _rate(self, length: float) -> float:
        work = self.problem.microbatches * self.problem.work.max()
        return max(0.0, 1 - work / length) if length else 0.0


def search(
    ranks: int,
    microbatches: int,
    costs: Costs,
    limit: float | list[float] | None = None,
    *,
    stage_layout: str = "line",
    virtual_stages: int = 2,
    objective: str = "makespan",
    kept: float = 1.0,
    effort: float = 1.0,
    seed: int = 0,
    progress: Callable[[Progress], object] | None = None,
) -> Found:
    """Return the shortest order of F, B and W found, never longer than a named schedule that fits the limit.

    costs       per stage; with several per rank, those of a virtual stage: Costs(...).divided(2) for a V
    limit       memory per rank: micro-batches of a full stage, or bytes if costs.activation_bytes is set; one number
                for all ranks or one per rank; None: no limit
    stage_layout   "line": one stage per rank; "v": rank r holds stages r and 2p-1-r; "loop": `virtual_stages`, in turns
    objective   "makespan", or "bubble_rate" for the longest span of a rank, from its first op to its last
    kept        fraction of an activation that stays after B for W: 1 keeps all, as Schedule.peak_activations counts;
                Qi et al. 2024, "Zero Bubble Pipeline Parallelism", table 1, has 32 / (34 + 5 a s / h)
    effort      search time, 1.0 is short enough for a slider; the search ends early when the bound is reached
    progress    called periodically; an exception that it raises ends the search

    Tries the named schedules, then orders built by parametrised rules, then moves of ops in the best order.
    Deterministic: the same arguments give the same order on any machine. ValueError for impossible arguments.
    """
    _check(ranks, microbatches, stage_layout, virtual_stages, objective, kept, effort)
    problem = Problem.of(ranks, microbatches, costs, stage_layout, virtual_stages, objective, limit, kept)
    return _Search(problem, effort, seed, progress).run()


def _check(ranks, microbatches, stage_layout, virtual_stages, objective, kept, effort) -> None:
    check_sizes(microbatches, ranks=ranks, virtual_stages=virtual_stages)
    for name, given, known in (("stage_layout", stage_layout, STAGE_LAYOUTS), ("objective", objective, OBJECTIVES)):
        if given not in known:
            raise ValueError(f"{name} {given!r} is not one of {', '.join(known)}")
    if not 0 <= kept <= 1 or not effort >= 0:
        raise ValueError(f"kept={kept}, effort={effort}: kept is a part, 0 to 1, and effort at least 0")


class _Search:
    """The best order so far, and the search for a better one."""

    def __init__(self, problem: Problem, effort: float, seed: int, progress: Callable | None) -> None:
        from lab_utils.schedule.search.moves import climb, peak, placed, score
        from lab_utils.schedule.search.order_by_rules import build  # numba takes a third of a second to load

        self.build, self.climb, self.peak, self.placed, self.score = build, climb, peak, placed, score
        self.problem, self.seed, self.progress = problem, seed, progress
        self.bound = least(problem)
        self.goal = self.bound.length * (1 + CLOSE)
        self.shape = problem.ranks, 3 * problem.virtual_stages * problem.microbatches
        self.most = round(effort * np.clip(OPS // (self.shape[0] * self.shape[1]), *TRIES))
        self.piece = max(1, PIECE_OPS // (self.shape[0] * self.shape[1]))
        self.orders, self.length, self.worth, self.tries = None, np.inf, np.inf, 0
        self.named: dict[str, float] = {}

    def run(self) -> Found:
        for name in NAMED[self.problem.stage_layout]:
            self._try_named(name)
        if self.orders is None:
            self._try_one_at_a_time()
        self._try_rules()
        self._try_moves()
        return self._found()

    def _try_named(self, name: str) -> None:
        q = self.problem
        more = {"virtual_stages": q.virtual_stages} if q.stage_layout == "loop" else {}
        schedule = getattr(schedules, name)(q.ranks, q.microbatches, **more)
        orders = q.codes(schedule)
        if all(self._peak(orders, rank) <= q.room[2][rank] for rank in range(q.ranks)):
            self.named[name] = self._offer(orders, self._ends(orders))

    def _try_one_at_a_time(self) -> None:
        """Try one micro-batch at a time: it fits every limit that any order fits."""
        front = np.arange(self.problem.virtual_stages)
        back = np.stack([len(front) + front, 2 * len(front) + front], 1)[::-1].ravel()  # B, W per virtual stage
        orders = np.tile(np.append(front, back), (self.problem.ranks, self.problem.microbatches))
        self._offer(orders, self._ends(orders))

    def _try_rules(self) -> None:
        q, draws, ends = self.problem, Draws(self.seed), np.empty(self.problem.ranks)
        orders, starts = np.empty(self.shape, np.int64), textbook()
        best, worth = draws.anywhere(), np.inf
        counts = forwards_first(q, self.goal) if q.virtual_stages == 1 else []
        warm_up = np.array(counts) if counts else None
        for at in range(self.most):
            if self.length <= self.goal:
                return
            self._report(0.5 * at / self.most, at)
            drawn = next(starts, None) or (draws.anywhere() if at < 0.4 * self.most else draws.near(*best))
            rules = Rules.of(q, *drawn, warm_up)
            args = q.microbatches, rules.counts, rules.patience, rules.rule, orders, ends
            if self.build(*q.model, *q.room, *args):
                self._offer(orders, ends)
                if (now := self.score(ends, q.offset)) <= worth:
                    best, worth = drawn, now
        self.tries += self.most

    def _try_moves(self) -> None:
        q, state = self.problem, np.array([self.seed], np.uint64)
        most, orders = MOVES * self.most, self.orders.copy()  # moves may lengthen it, while they lower the score
        for at in range(0, most, MOVES * self.piece):
            if self.length <= self.goal:
                return
            self._report(0.5 + 0.5 * at / most, 0)
            steps = min(MOVES * self.piece, most - at)
            self.climb(orders, *q.model, *q.room, q.microbatches, q.offset, steps, self.goal, state)
            self._offer(orders, self._ends(orders))
            self.tries += steps - 1

    def _offer(self, orders: np.ndarray, ends: np.ndarray) -> float:
        """Keep the orders if they are better than the best so far. Return their length."""
        length, worth = float((ends - self.problem.offset).max()), self.score(ends, self.problem.offset)
        self.tries += 1
        if (length, worth) < (self.length, self.worth):
            self.orders, self.length, self.worth = orders.copy(), length, worth
        return length

    def _ends(self, orders: np.ndarray) -> np.ndarray:
        q, ends = self.problem, np.empty(self.problem.ranks)
        self.placed(orders, *q.model, q.microbatches, np.empty((2, q.stages, q.microbatches)), ends)
        return ends

    def _peak(self, orders: np.ndarray, rank: int) -> float:
        return self.peak(orders[rank], self.problem.stages_of[rank], self.problem.weight, self.problem.kept)

    def _report(self, part: float, at: int) -> None:
        if self.progress is not None and at % self.piece == 0:
            self.progress(Progress(part, self.length))

    def _found(self) -> Found:
        q = self.problem
        if self.progress is not None:
            self.progress(Progress(1.0, self.length))
        peaks = tuple(self._peak(self.orders, rank) for rank in range(q.ranks))
        schedule = q.schedule("found", self.orders)
        args = q.objective, self.length, self.bound, self.named, peaks, self.tries, q
        return Found(schedule, *args)
