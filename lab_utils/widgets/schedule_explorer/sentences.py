"""Sentences about an order: its sizes, its bound, a search, and how one placed by hand stands."""

from __future__ import annotations

from collections.abc import Sequence

from lab_utils.schedule import LEVELS, Found, Level
from lab_utils.schedule.levels import after
from lab_utils.schedule.ops import Step, told
from lab_utils.schedule.pauses import amount
from lab_utils.text import counted, numbered
from lab_utils.widgets.schedule_explorer import words


def headline(name: str, ranks: int, stages: int, microbatches: int) -> str:
    """Return the name and the sizes; stages only if there are not as many as ranks."""
    several = [] if stages == ranks else [words.STAGES.format(stages=stages)]
    sizes = [counted(ranks, "rank"), *several, counted(microbatches, "micro-batch")]
    return words.HEADLINE.format(name=name, sizes=", ".join(sizes))


def of_full_stage(limit: float | None) -> str:
    """Return the unit of the activations, and how many are allowed."""
    allowed = words.NO_LIMIT if limit is None else words.LIMIT.format(limit=f"{limit:g}")
    return words.OF_FULL_STAGE.format(allowed=allowed)


def fits_not(over: Sequence[int], limit: float) -> str:
    """Return which ranks would hold more than the limit."""
    return words.FITS_NOT.format(ranks=numbered("rank", over), limit=f"{limit:g}")


def bound(length: float, because: str, limit: float | None) -> str:
    """Return the lower bound within the limit, and its reason."""
    template = words.BOUND if limit is None else words.BOUND_WITHIN
    return template.format(length=amount(length), because=because, limit=f"{limit or 0:g}")


def found(best: Found) -> str:
    """Return the search's makespan, the best named one and the bound."""
    name = _best_named(best)
    named = words.NONE_FITS
    if name:
        named = words.BEST_NAMED.format(title=words.TITLES[name], length=amount(best.named[name]))
    saved = 1 - best.bound.length / best.length if best.length else 0.0
    gap = words.NOTHING_SHORTER if best.gap < 1e-4 else words.COULD_SAVE.format(percent=f"{100 * saved:.1f}")
    bound = words.FOUND_BOUND.format(length=amount(best.bound.length), gap=gap, because=best.bound.because)
    return words.FOUND.format(length=amount(best.length), named=named, bound=bound)


def _best_named(best: Found) -> str:
    """Return the name of the shortest named schedule within the limit, "" if none is."""
    return min(best.named, key=best.named.get, default="")


def searching(part: float, shortest: float | None) -> str:
    """Return how far a search is, and the shortest makespan so far, if there is one."""
    percent = f"{100 * part:.0f}"
    if shortest is None:
        return words.SEARCHING.format(percent=percent)
    return words.SHORTEST.format(percent=percent, length=amount(shortest))


def stages_elsewhere(name: str) -> str:
    """Return why an order cannot be placed by hand, and in which stage layouts orders can."""
    return words.STAGES_ELSEWHERE.format(name=name, layouts="; ".join(words.STAGE_LAYOUTS.values()))


def other_stage(rank: int, held: Sequence[int], stage: int) -> str:
    """Return which stages the rank holds instead of this one."""
    template = words.HOLDS_STAGES if len(held) > 1 else words.HOLDS_STAGE
    return template.format(rank=rank, held=words.AND.join(map(str, held)), stage=stage)


def against_par(left: int, makespan: float, best: Found) -> str:
    """Compare with par, the best named makespan for this stage layout within the limit, and with the bound."""
    name, bound = _best_named(best), amount(best.bound.length)
    if not name:
        return words.NONE_WITHIN.format(bound=bound)
    par = best.named[name]
    told = words.PAR.format(par=amount(par), title=words.TITLES[name], bound=bound)
    if left:
        return told
    better = round(par - makespan, 9)
    verdict = (words.UNDER_PAR if better > 0 else words.OVER_PAR) if better else words.ON_PAR
    return f"{told} {verdict.format(by=amount(abs(better)))}"


def stands(rank: int, op: Step, why: str) -> str:
    """Return at which op a rank stands, and why it cannot run it."""
    name, rest = told(op), why.removeprefix(f"{told(op)} ")
    return (words.STANDS if rest == why else words.STANDS_WHICH).format(rank=rank, op=name, why=rest)


def built(names: Sequence[str]) -> str:
    """Return which schedules have the order."""
    if not names:
        return words.NO_NAME
    first, *others = (words.TITLES[name] for name in names)
    return (words.BUILT_ALSO if others else words.BUILT).format(title=first, others=words.AND.join(others))


def level_goal(level: Level) -> str:
    """Return the level's number, title and goal."""
    numbers = {"par": level.par, "before": level.before, "limit": level.limit or 0, "message": level.costs.comm}
    texts = {name: amount(value) for name, value in numbers.items()}
    goal, title = words.GOALS[level.name].format(m=level.microbatches, **texts), words.LEVEL_TITLES[level.name]
    return words.LEVEL.format(number=_level_number(level), count=len(LEVELS), title=title, goal=goal)


def _level_number(level: Level) -> int:
    return list(LEVELS).index(level.name) + 1


def against_level(left: int, makespan: float, level: Level, reached: bool) -> str:
    """Compare with the level's par; when it is reached, name the next level."""
    par = (words.PROVEN_PAR if level.is_proven else words.LEVEL_PAR).format(par=amount(level.par))
    if left:
        return par
    if not reached:
        return f"{par} {words.NOT_REACHED.format(by=amount(makespan - level.par))}"
    following, number = after(level.name), _level_number(level)
    told = f"{words.LEVEL_DONE.format(number=number)} {par}"
    if not following:
        return f"{told} {words.LAST_LEVEL}"
    return f"{told} {words.NEXT_LEVEL.format(number=number + 1, title=words.LEVEL_TITLES[following])}"
