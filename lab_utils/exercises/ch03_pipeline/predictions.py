"""Predictions of chapters 03 and 03b: numbers that a reader commits to before the cells that show them."""

from __future__ import annotations

from math import ceil

from lab_utils.exercises.ch03_pipeline import words_predictions as words
from lab_utils.exercises.ch03_pipeline.numbers import MICROBATCHES, RANKS, ROUNDED
from lab_utils.exercises.framework.exercise import Exercise
from lab_utils.exercises.framework.judge_numbers import Numbers, Quantity, numeric
from lab_utils.schedule import Costs, schedules, simulate

OP_MS, COMM_MS, FEW = 10, 5, 4  # F, B and W of a full stage; a message; micro-batches of 03.d and 03.e
VIRTUAL_STAGES = (1, 2, 4)  # 03.c
MANY_MICROBATCHES = 16  # 03.b: other than in the pictures above it
LIMIT = 2  # 03.e
ITEMS, PREPROCESS_MS, TRAIN_MS = 1000, 60, 25  # 03.g
ONE_F_ONE_B_MS = 3 * OP_MS * (FEW + RANKS - 1)


def one_batch() -> Numbers:
    p, idle = RANKS, (RANKS - 1) / RANKS
    fraction = Quantity(idle, of_work=p - 1, computing=1 / p, percent=100 * idle, nothing=0.0, **ROUNDED)
    return [fraction, Quantity(1, 0.05, all_ranks=p, slower=1 / p)], {"fraction": idle}


def held_here() -> Numbers:
    p, m = RANKS, MANY_MICROBATCHES
    gpipe, one = (make(p, m).peak_activations for make in (schedules.gpipe, schedules.one_f_one_b))
    asked = [
        Quantity(gpipe[0], ranks=p),
        Quantity(one[0], of_gpipe=m, behind=p - 1, of_last=one[-1]),
        Quantity(one[-1], of_gpipe=m, of_first=one[0], none=0.0),
    ]
    return asked, {"first": f"{one[0]:g}", "last": f"{one[-1]:g}"}


def makespans_ms(comm_ms: float) -> dict[int, float]:
    """Return the makespan of 1F1B, and interleaved, by the number of virtual stages."""
    costs = Costs(OP_MS, OP_MS, OP_MS, comm=comm_ms)
    orders = {v: schedules.interleaved(RANKS, MICROBATCHES, virtual_stages=v) for v in VIRTUAL_STAGES[1:]}
    orders[1] = schedules.one_f_one_b(RANKS, MICROBATCHES)
    return {v: simulate(orders[v], costs.divided(v)).makespan_s for v in VIRTUAL_STAGES}


def best_virtual() -> Numbers:
    took = makespans_ms(COMM_MS)
    best = min(took, key=took.get)
    said = ", ".join(f"v = {v}: {ms:g} ms" for v, ms in took.items())
    return [Quantity(best, most=max(took), one=1)], {"best": best, "said": said}


def split_backward() -> Numbers:
    p, costs = RANKS, Costs(OP_MS, OP_MS, OP_MS)
    right, work = simulate(schedules.zb_h1(p, FEW), costs).makespan_s, 3 * OP_MS * FEW
    asked = Quantity(
        right, 0.03, no_bubble=work, of_1f1b=ONE_F_ONE_B_MS, warm_up_twice=work + 2 * (p - 1) * OP_MS,
    )  # fmt: skip
    return [asked], {"right_ms": right, "work_ms": work, "idle_ms": right - work}


def two_at_a_time(makespan_ms: float) -> Numbers:
    work, whole_way = 3 * OP_MS * FEW, 3 * OP_MS * RANKS
    late = {"late": makespan_ms + 6 * OP_MS}
    asked = Quantity(makespan_ms, 0.1, one_f_one_b=ONE_F_ONE_B_MS, one_by_one=FEW * whole_way, no_bubble=work, **late)
    return [asked], {"makespan_ms": makespan_ms, "round_ms": whole_way, "later_ms": 3 * OP_MS}


def vee(rate: float, line_rate: float) -> Numbers:
    return [Quantity(rate, 0.2, same=line_rate, nothing=0.0)], {"rate": rate, "line_rate": line_rate}


def run_s(workers: int) -> float:
    """Seconds of a run with so many preprocessing workers, each as fast as one alone."""
    return (PREPROCESS_MS + ITEMS * max(TRAIN_MS, PREPROCESS_MS / workers)) / 1e3


def workers() -> Numbers:
    n, P, T = ITEMS, PREPROCESS_MS, TRAIN_MS
    enough = ceil(P / T)
    seconds = Quantity(
        run_s(enough), 0.02, without=n * (P + T) / 1e3, one_worker=run_s(1), divided=n * P / enough / 1e3,
        both_divided=n * (P + T) / enough / 1e3,
    )  # fmt: skip
    asked = [Quantity(enough, ratio=P / T, rounded_down=P // T, one_more=enough + 1), seconds]
    return asked, {"workers": enough, "seconds": run_s(enough), "each": P / enough}


def steps_compared(one_f_one_b: float, zb_h1: float, v_min: float) -> Numbers:
    """The three ratios, as the table predicts them."""
    p, m = RANKS, MICROBATCHES
    asked = [
        Quantity(one_f_one_b, 0.02, smaller=m / (m + p - 1)),
        Quantity(zb_h1, 0.06, same=1.0, no_bubble=m / (m + p - 1)),
        Quantity(v_min, 0.15, by_bubble=(m + 2 * (p - 1) / 3) / (m + p - 1)),
    ]
    return asked, {"one_f_one_b": one_f_one_b, "zb_h1": zb_h1, "v_min": v_min}


_EVEN = {"p": RANKS, "m": MICROBATCHES, "op_ms": OP_MS}
_FEW = {"p": RANKS, "m": FEW, "one_f_one_b_ms": ONE_F_ONE_B_MS}
_TWO = {**_FEW, "forward_ms": OP_MS, "backward_ms": 2 * OP_MS, "limit": LIMIT}
_FEED = {"n": ITEMS, "P": PREPROCESS_MS, "T": TRAIN_MS}

PREDICTIONS: tuple[Exercise, ...] = (
    numeric("03.a", words.OneBatch, one_batch, p=RANKS),
    numeric("03.b", words.HeldHere, held_here, p=RANKS, m=MANY_MICROBATCHES),
    numeric("03.c", words.BestVirtual, best_virtual, **_EVEN, comm_ms=COMM_MS),
    numeric("03.d", words.SplitBackward, split_backward, **_FEW, op_ms=OP_MS),
    numeric("03.e", words.TwoAtATime, two_at_a_time, given=("makespan_ms",), **_TWO),
    numeric("03.f", words.Vee, vee, given=("rate", "line_rate")),
    numeric("03.g", words.Workers, workers, **_FEED),
    numeric("03.h", words.StepsCompared, steps_compared, given=("one_f_one_b", "zb_h1", "v_min")),
)
