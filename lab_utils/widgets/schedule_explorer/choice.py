"""The orders that ScheduleExplorer can show: named schedules, search results, and the reader's own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from lab_utils.schedule import Costs, Draft, Found, Schedule, search, why_not
from lab_utils.schedule.pauses import amount
from lab_utils.schedule.schedules import BY_NAME
from lab_utils.schedule.search.bound import least
from lab_utils.schedule.search.problem import Problem, placed_stages

TITLES = {
    "gpipe": "GPipe", "one_f_one_b": "1F1B", "interleaved": "Interleaved 1F1B", "looped_bfs": "LoopedBFS",
    "zb_h1": "ZB-H1", "zb_h2": "ZB-H2", "zb_v": "ZB-V", "v_half": "V-Half", "v_min": "V-Min",
    "dualpipe": "DualPipe", "dualpipe_v": "DualPipeV",
    "found": "found: one stage a rank", "found_v": "found: two stages a rank, a V",
    "found_loop": "found: v stages a rank, in turn", "own": "your own order", "hand": "placed by hand",
}  # fmt: skip
FOUND = {"found": "line", "found_v": "v", "found_loop": "loop"}
STAGE_LAYOUTS = {"line": "one stage a rank", "v": "two stages a rank, a V", "loop": "v stages a rank, in turn"}
TWICE = "Each stage is on two ranks, so a rank holds twice the weights of the other schedules."
WITH_CHUNKS = ("interleaved", "looped_bfs")


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


def chunks_of(stage_layout: str, v: int) -> int:
    return {"line": 1, "v": 2, "loop": v}[stage_layout]


def named(name: str, setting: Setting) -> Schedule:
    """Return a schedule by name. ValueError, in a sentence, if it does not support these sizes."""
    more = (setting.v,) if name in WITH_CHUNKS else ()
    return BY_NAME[name](setting.p, setting.m, *more)


@lru_cache(maxsize=64)
def par_of(setting: Setting, stage_layout: str) -> Found:
    """Return the best named order and the bound, without a search. ValueError for impossible settings."""
    chunks = chunks_of(stage_layout, setting.v)
    sizes = setting.p, setting.m, setting.costs.divided(chunks), setting.limit
    return search(*sizes, stage_layout=stage_layout, virtual_stages=chunks, effort=0)


def own(text: str) -> Schedule:
    """Parse the reader's order, a line per rank. ValueError, in a sentence, if ranks cannot complete it.

    All stages may be on two ranks each, so that DualPipe can be written.
    """
    draft = Draft.of("your own order", text)
    if not draft.ranks:
        raise ValueError("no order is written: a line for each rank, such as F0 F1 BW0 BW1")
    wrong = why_not(draft)
    copies = 2 if wrong and _all_twice(draft) else 1
    if wrong and (copies == 1 or why_not(Draft.of("order", text, copies=2))):
        raise ValueError(wrong)
    return Schedule.of("your own order", text, copies=copies)


def _all_twice(draft: Draft) -> bool:
    return draft.stages > 1 and all(len(ranks) == 2 for ranks in draft.ranks_of_stage)


def chosen(choice: str, setting: Setting, text: str) -> Schedule:
    """Return the schedule of a choice other than by hand or search. ValueError, in a sentence, if impossible."""
    if choice == "own":
        return own(text)
    return named(choice, setting)


def found_words(best: Found) -> str:
    """Return the search's makespan, the best named one and the bound."""
    name = min(best.named, key=best.named.get, default="")
    named_best = f"best named: {TITLES[name]}, {amount(best.named[name])}" if name else "no named one fits the limit"
    saved = 1 - best.bound.length / best.length if best.length else 0.0
    gap = "nothing shorter exists" if best.gap < 1e-4 else f"at most {100 * saved:.1f} % could be saved"
    bound = f"Bound {amount(best.bound.length)}, so {gap}: {best.bound.because}."
    return f"Found {amount(best.length)} ({named_best}). {bound}"


def stage_layout_of(draft: Draft) -> str | None:
    """Return the stage layout of a draft, None if it has another."""
    chunks = draft.stages // draft.ranks
    for stage_layout in ("line", "v", "loop"):
        held = placed_stages(draft.ranks, stage_layout, chunks)
        if held.size == draft.stages and draft.stages_of_rank == tuple(map(tuple, held.tolist())):
            return stage_layout
    return None


def bound_words(draft: Draft, setting: Setting) -> str:
    """Return the lower bound for these stages and costs within the limit, and its reason; "" if there is none."""
    if (stage_layout := stage_layout_of(draft)) is None:
        return ""
    sizes = (
        draft.ranks,
        draft.microbatches,
        setting.costs.divided(draft.virtual_stages),
        stage_layout,
        draft.stages // draft.ranks,
    )
    try:
        bound = least(Problem.of(*sizes, "makespan", setting.limit, kept=1.0))
    except ValueError:  # the limit is too small for any order
        return ""
    within = "" if setting.limit is None else f" within the limit of {setting.limit:g}"
    return f"No order with these stages{within} is shorter than {amount(bound.length)}: {bound.because}."
