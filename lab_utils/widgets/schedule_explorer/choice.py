"""The orders that ScheduleExplorer can show: named schedules, search results, and the reader's own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lab_utils.schedule import Costs, Draft, Found, Schedule, search, why_not
from lab_utils.schedule.schedules import BY_NAME
from lab_utils.schedule.search.bound import least
from lab_utils.schedule.search.problem import Problem, placed_stages
from lab_utils.widgets.schedule_explorer import sentences, words

FOUND = {"found": "line", "found_v": "v", "found_loop": "loop"}
MOST = {"p": 32, "m": 256, "v": 8}
WITH_VIRTUAL_STAGES = ("interleaved", "looped_bfs")


class CannotRun(ValueError):
    """Why ranks cannot run an order to its end, in a sentence; `draft` is the order."""

    def __init__(self, why: str, draft: Draft) -> None:
        super().__init__(why)
        self.draft = draft


@dataclass(frozen=True)
class Setting:
    """Ranks, micro-batches, stages per rank; costs of F, B, W of a full stage and of a message; memory limit.

    limit   micro-batches of a full stage that a rank may hold; None: no limit
    """

    p: int
    m: int
    v: int
    costs: Costs
    limit: float | None


def virtual_stages_of(stage_layout: str, v: int) -> int:
    """Return how many stages each rank holds in a stage layout."""
    return {"line": 1, "v": 2, "loop": v}[stage_layout]


def named(name: str, setting: Setting) -> Schedule:
    """Return a schedule by name. ValueError, in a sentence, if it does not support these sizes."""
    more = (setting.v,) if name in WITH_VIRTUAL_STAGES else ()
    return BY_NAME[name](setting.p, setting.m, *more)


def searched(setting: Setting, stage_layout: str, **how: Any) -> Found:
    """Return the result of `search(..., **how)` for the setting. ValueError for impossible settings."""
    each = virtual_stages_of(stage_layout, setting.v)
    sizes = setting.p, setting.m, setting.costs.divided(each), setting.limit
    return search(*sizes, stage_layout=stage_layout, virtual_stages=each, **how)


@lru_cache(maxsize=64)
def par_of(setting: Setting, stage_layout: str) -> Found:
    """Return the best named order and the bound, without a search. ValueError for impossible settings."""
    return searched(setting, stage_layout, effort=0)


def own(text: str) -> Schedule:
    """Parse the reader's order, a line per rank. CannotRun if ranks cannot complete it, ValueError if it is none.

    All stages may be on two ranks each, so that DualPipe can be written.
    """
    name = words.TITLES["own"]
    draft = Draft.of(name, text)
    if not draft.ranks:
        raise ValueError(words.NO_ORDER)
    wrong = why_not(draft)
    if not wrong:
        return Schedule.of(name, text)
    doubled = Draft.of(name, text, copies=2) if _all_twice(draft) else None
    if doubled is not None and not why_not(doubled):
        return Schedule.of(name, text, copies=2)
    if any(size > most for size, most in zip((draft.ranks, draft.microbatches), MOST.values(), strict=False)):
        raise ValueError(wrong)
    raise CannotRun(wrong, doubled or draft)


def _all_twice(draft: Draft) -> bool:
    return draft.stages > 1 and all(len(ranks) == 2 for ranks in draft.ranks_of_stage)


def chosen(choice: str, setting: Setting, text: str) -> Schedule:
    """Return the schedule of a choice other than by hand or search. ValueError, in a sentence, if impossible."""
    if choice == "own":
        return own(text)
    return named(choice, setting)


def stage_layout_of(draft: Draft) -> str | None:
    """Return the stage layout of a draft, None if it has another."""
    for stage_layout in ("line", "v", "loop"):
        held = placed_stages(draft.ranks, stage_layout, draft.stages // draft.ranks)
        if held.size == draft.stages and draft.stages_of_rank == tuple(map(tuple, held.tolist())):
            return stage_layout
    return None


def bound_words(draft: Draft, setting: Setting) -> str:
    """Return the lower bound for these stages and costs within the limit, and its reason; "" if there is none."""
    if (stage_layout := stage_layout_of(draft)) is None:
        return ""
    costs, each = setting.costs.divided(draft.virtual_stages), draft.stages // draft.ranks
    sizes = draft.ranks, draft.microbatches, costs, stage_layout, each
    try:
        bound = least(Problem.of(*sizes, "makespan", setting.limit, kept=1.0))
    except ValueError:  # the limit is too small for any order
        return ""
    return sentences.bound(bound.length, bound.because, setting.limit)
