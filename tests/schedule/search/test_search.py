"""Searched schedules: valid by a slow checker, within memory, no longer than named ones, no shorter than the bound."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import lab_utils.schedule.search.moves  # noqa: F401 - compiled here, so that it takes nothing from an example's time
from lab_utils.schedule import Costs, Schedule, schedules, simulate, why_not
from lab_utils.schedule.search.search import NAMED, Found, search

STAGE_LAYOUTS = {"line": 1, "v": 2, "loop": 2}
seconds = st.floats(0.1, 10).map(lambda value: round(value, 3))


def slow_run(orders: list[list[tuple[str, int, int]]], stages: int, cost: dict, comm: float) -> list[float]:
    """When each rank ends, in plain Python: never where ranks wait for each other. Nothing comes twice or too early."""
    owner = {stage: rank for rank, order in enumerate(orders) for _, stage, _ in order}
    ended: dict[tuple[str, int, int], float] = {}
    left, now = [list(order) for order in orders], [0.0] * len(orders)
    while any(left):
        before = len(ended)
        for rank, order in enumerate(left):
            while order:
                kind, stage, number = op = order[0]
                wanted = {"F": ("F", stage - 1, number), "B": ("B", stage + 1, number), "W": ("B", stage, number)}[kind]
                if kind == "B" and stage == stages - 1:
                    wanted = ("F", stage, number)
                if kind == "B" and stage < stages - 1:
                    assert ("F", stage, number) in ended
                if wanted[1] >= 0:
                    if wanted not in ended:
                        break
                    now[rank] = max(now[rank], ended[wanted] + (comm if owner[wanted[1]] != rank else 0.0))
                assert op not in ended
                now[rank] += cost[kind][stage]
                ended[op] = now[rank]
                order.pop(0)
        if len(ended) == before:
            return [np.inf] * len(orders)
    return now


def steps(schedule: Schedule) -> list[list[tuple[str, int, int]]]:
    rows = zip(schedule.kind.tolist(), schedule.stage.tolist(), schedule.microbatch.tolist(), strict=True)
    every = [("FBW"[kind], stage, number) for kind, stage, number in rows]
    return [every[a:b] for a, b in itertools.pairwise(schedule.first)]


def slow_peak(order: list[tuple[str, int, int]], weight: list[float], kept: float) -> float:
    holds = {"F": 1.0, "B": kept - 1, "W": -kept}
    return max(itertools.accumulate(holds[kind] * weight[stage] for kind, stage, _ in order))


def per_stage(costs: Costs, stages: int) -> dict[str, list[float]]:
    names = {"F": "forward", "B": "backward_input", "W": "backward_weight"}
    return {kind: costs.of_stages(name, stages).tolist() for kind, name in names.items()}


@st.composite
def questions(draw: st.DrawFn) -> dict:
    stage_layout = draw(st.sampled_from(sorted(STAGE_LAYOUTS)))
    ranks, m = draw(st.integers(1, 4)), draw(st.integers(1, 7))
    stages = ranks * STAGE_LAYOUTS[stage_layout]
    each = [draw(seconds | st.lists(seconds, min_size=stages, max_size=stages)) for _ in range(3)]
    costs = Costs(*each, comm=draw(st.just(0.0) | seconds))
    limit = draw(st.none() | st.integers(2, 2 * m + 2).map(lambda halves: halves / 2))
    objective, kept = draw(st.sampled_from(["makespan", "bubble_rate"])), draw(st.sampled_from([1.0, 0.4, 0.0]))
    named = {"ranks": ranks, "microbatches": m, "costs": costs, "limit": limit, "stage_layout": stage_layout}
    return named | {"objective": objective, "kept": kept}


# Here moves lowered the score, and with it made the longest rank longer: the best before them is what is found.
LONGER_BY_MOVES = {
    "ranks": 3, "microbatches": 3, "limit": None, "stage_layout": "loop", "objective": "makespan", "kept": 1.0,
    "costs": Costs(
        forward=[1, 1, 1, 1, 8.859, 8.797], backward_input=[9.836, 6.352, 1, 3.805, 9, 5.625],
        backward_weight=[0.5, 3.938, 1, 5.75, 4.062, 1],
    ),
}  # fmt: skip


@given(questions())
@example(LONGER_BY_MOVES)
@settings(deadline=None, max_examples=60)
def test_what_is_found_is_valid_fits_and_is_no_longer_than_named_ones_nor_shorter_than_the_bound(
    question: dict,
) -> None:
    found = search(**question, effort=0.02)
    p, m, costs, kept = (question[name] for name in ("ranks", "microbatches", "costs", "kept"))
    stages = found.schedule.stages
    ends = slow_run(steps(found.schedule), stages, per_stage(costs, stages), costs.comm)
    assert len(found.schedule) == 3 * stages * m  # and no op comes twice: each is there once
    timeline = simulate(found.schedule, costs)
    assert timeline.makespan_s == pytest.approx(max(ends), rel=1e-12)
    if question["objective"] == "makespan":
        assert found.length == pytest.approx(max(ends), rel=1e-9)
    else:
        assert found.bubble_rate == pytest.approx(timeline.bubble_rate, abs=1e-9)
    peaks = [slow_peak(order, [p / stages] * stages, kept) for order in steps(found.schedule)]
    assert found.peaks == pytest.approx(peaks) and max(peaks) <= (question["limit"] or m) + 1e-6
    assert found.bound.length <= found.length * (1 + 1e-9) and found.bound.because
    for name in NAMED[question["stage_layout"]]:
        named = getattr(schedules, name)(p, m)
        length, most = simulate(named, costs).makespan_s, max(named.peak_activations)
        if most <= (question["limit"] or m) and question["objective"] == "makespan":
            assert found.named[name] <= length * (1 + 1e-9) and found.length <= length * (1 + 1e-9)


def words(m: int) -> list[str]:
    """All orders of one stage's ops: no B before its F, no W before its B."""
    every = set(itertools.permutations("F" * m + "B" * m + "W" * m)) if m < 3 else set(_ballots(m))
    return sorted("".join(word) for word in every if _is_fine(word))


def _ballots(m: int, f: int = 0, b: int = 0, w: int = 0):
    if w == m:
        yield ""
    for kind, may, after in (("F", f < m, (f + 1, b, w)), ("B", b < f, (f, b + 1, w)), ("W", w < b, (f, b, w + 1))):
        if may:
            yield from (kind + rest for rest in _ballots(m, *after))


def _is_fine(word) -> bool:
    counts = [[word[: at + 1].count(kind) for kind in "FBW"] for at in range(len(word))]
    return all(f >= b >= w for f, b, w in counts)


def numbered(word: str, stage: int) -> list[tuple[str, int, int]]:
    return [(kind, stage, word[:at].count(kind)) for at, kind in enumerate(word)]


def best_of_all(ranks: int, m: int, costs: Costs, limit: int, spans: bool) -> float:
    """Every order of every rank, tried."""
    cost = per_stage(costs, ranks)
    fitting = [word for word in words(m) if slow_peak(numbered(word, 0), [1.0], 1.0) <= limit]
    begins = [sum(cost["F"][:rank]) + rank * costs.comm if spans else 0.0 for rank in range(ranks)]
    best = np.inf
    for chosen in itertools.product(fitting, repeat=ranks):
        orders = [numbered(word, rank) for rank, word in enumerate(chosen)]
        ends = slow_run(orders, ranks, cost, costs.comm)
        best = min(best, max(end - begin for end, begin in zip(ends, begins, strict=True)))
    return best


@pytest.mark.parametrize(("ranks", "m", "limit"), [(2, 2, 1), (2, 2, 2), (3, 2, 2), (2, 3, 2), (2, 3, 3)])
@pytest.mark.parametrize("objective", ["makespan", "bubble_rate"])
def test_the_best_of_all_orders_is_found(ranks: int, m: int, limit: int, objective: str) -> None:
    for costs in (Costs(2, 2, 1), Costs([1, 3, 2][:ranks], [3, 1, 2][:ranks], [1, 2, 1][:ranks], comm=0.5)):
        found = search(ranks, m, costs, limit, objective=objective, effort=0.3)
        best = best_of_all(ranks, m, costs, limit, objective == "bubble_rate")
        assert found.length == pytest.approx(best, rel=1e-9)
        assert found.bound.length <= best * (1 + 1e-9)


def test_the_edges() -> None:
    alone = search(1, 5, Costs(1, 2, 3, comm=9.0), 1)
    assert alone.length == 30 and alone.gap == 0 and alone.peaks == (1,)
    one = search(4, 1, Costs(1, 2, 3, comm=0.5))
    assert one.length == 4 + 8 + 3 + 6 * 0.5 and one.gap < 1e-6
    assert search(3, 2, Costs(0, 0, 0)).length == 0
    assert search(3, 4, Costs(1, 0, 0, comm=1), 2).gap < 1e-6
    tight = search(3, 4, Costs(1, 1, 1), 1)  # a micro-batch at a time: 3 F, 3 B and a W each, on rank 0
    assert tight.length == 28 and max(tight.peaks) == 1
    assert search(4, 8, Costs(), float("inf")).length == search(4, 8, Costs()).length
    for stage_layout, count in (("line", 1), ("v", 2), ("loop", 3)):  # without a search, where no named one fits
        at_once = search(3, 4, Costs(1, 2, 1, 0.5), 1, stage_layout=stage_layout, virtual_stages=count, effort=0)
        assert (
            at_once.named == {} and why_not(at_once.schedule, limit=1) == "" and max(at_once.peaks) == pytest.approx(1)
        )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"limit": 0.5}, "rank 0 may hold 0.5 micro-batches, and one micro-batch on its way takes 1"),
        ({"limit": 0}, "a limit of activations is 0"),
        ({"limit": [1, 2, 3]}, "3 limits of activations, and there are 2 ranks"),
        ({"costs": Costs(1, 1, 1, activation_bytes=100), "limit": [200, 60]}, "rank 1 may hold 60 bytes"),
        ({"costs": Costs(1, [1, -2], 1)}, "backward_input 1 is -2: it must be a number of 0 or more"),
        ({"costs": Costs(1, 1, 1, activation_bytes=[5, 0])}, "activation_bytes 1 is 0: it must be a number above 0"),
        ({"ranks": 0}, "ranks=0, virtual_stages=2, microbatches=3: at least one"),
        ({"microbatches": 2.5}, "microbatches=2.5: whole numbers are needed"),
        ({"stage_layout": "w"}, "stage_layout 'w' is not one of line, v, loop"),
        ({"objective": "bubble"}, "objective 'bubble' is not one of makespan, bubble_rate"),
        ({"kept": 2}, "kept=2"),
        ({"costs": Costs([1, 2, 3], 1, 1)}, "forward has 3 costs, and there are 2 stages"),
    ],
)
def test_what_cannot_be_is_refused(given: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        search(**({"ranks": 2, "microbatches": 3, "costs": Costs()} | given))


def test_bytes_and_micro_batches_are_the_same_limit() -> None:
    by_count = search(3, 8, Costs(2, 2, 1), 3)
    by_bytes = search(3, 8, Costs(2, 2, 1, activation_bytes=100), 300)
    assert steps(by_count.schedule) == steps(by_bytes.schedule)
    assert by_bytes.peaks == tuple(100 * peak for peak in by_count.peaks)


def test_it_can_be_watched_and_ended() -> None:
    seen = []
    search(4, 6, Costs(3, 2, 1, comm=0.3), 3, progress=seen.append)
    assert [each.part for each in seen] == sorted(each.part for each in seen) and seen[-1].part == 1
    assert [each.length for each in seen] == sorted((each.length for each in seen), reverse=True)

    def end(progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(4, 6, Costs(3, 2, 1, comm=0.3), 3, progress=end)


PROGRAM = """
import json
from lab_utils.schedule import Costs
from lab_utils.schedule.search.search import search
found = search(4, 6, Costs(3, 2, 1, comm=0.3), 3, effort=0.3)
print(json.dumps([found.length, found.schedule.kind.tolist(), found.schedule.microbatch.tolist()]))
"""


def test_another_process_finds_the_same() -> None:
    there = json.loads(subprocess.check_output([sys.executable, "-c", PROGRAM], encoding="utf-8"))
    found: Found = search(4, 6, Costs(3, 2, 1, comm=0.3), 3, effort=0.3)
    assert there == [found.length, found.schedule.kind.tolist(), found.schedule.microbatch.tolist()]
