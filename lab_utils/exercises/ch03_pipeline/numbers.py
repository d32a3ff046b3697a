"""The numbers of chapter 03: bubbles, micro-batches needed for a small one, activations held, and bytes sent."""

from __future__ import annotations

from math import floor

from lab_utils.exercises.framework.judge_numbers import Numbers, Quantity
from lab_utils.schedule import Costs, schedules, simulate

ROUNDED = {"relative": 0.015, "absolute": 0.005}  # two digits of a fraction are enough
EVEN = Costs(forward=1, backward_input=1, backward_weight=1)
RANKS, MICROBATCHES, VIRTUAL_STAGES = 4, 8, 2  # 03.1, 03.4 and 03.5
MANY_RANKS, MANY_VIRTUAL_STAGES, PERCENT = 8, 4, 10  # 03.2
HELD_RANKS, HELD_MICROBATCHES = 8, 32  # 03.3
FLOAT32_BYTES = 4
UNEVEN_MS = Costs(forward=4, backward_input=5, backward_weight=3)  # 03.5
MAKESPAN_MS, SPAN_MS = 108, 105  # results of lengths_ms(), constant as the simulator takes a second to load


def bubbles() -> Numbers:
    p, m, v = RANKS, MICROBATCHES, VIRTUAL_STAGES
    plain = simulate(schedules.gpipe(p, m), EVEN).bubble_fraction
    looped = simulate(schedules.interleaved(p, m, virtual_stages=v), EVEN.divided(v)).bubble_fraction
    alike = {"of_work": (p - 1) / m, "all_ranks": p / (m + p), "working": 1 - plain, "percent": 100 * plain, **ROUNDED}
    asked = [
        Quantity(plain, **alike),
        Quantity(plain, **alike, nothing=0.0, interleaved=looped, half=plain / 2),
        Quantity(
            looped, **ROUNDED, plain=plain, divided=plain / v, looped_of_work=(p - 1) / (v * m),
            so_many_ranks=(v * p - 1) / (m + v * p - 1), percent=100 * looped,
        ),
    ]  # fmt: skip
    idle, whole, looped_whole = p - 1, m + p - 1, v * m + p - 1
    wholes = {"idle": idle, "whole": whole, "looped_whole": looped_whole}
    return asked, {**wholes, "plain": idle / whole, "looped": idle / looped_whole}


def least_microbatches(ranks: int, virtual_stages: int, percent: int) -> int:
    """Return the smallest m with (p - 1) / (v m + p - 1) below `percent` percent."""
    return floor((ranks - 1) * (100 - percent) / (percent * virtual_stages)) + 1


def enough() -> Numbers:
    p, v, of_whole = MANY_RANKS, MANY_VIRTUAL_STAGES, 100 / PERCENT
    plain, looped = (least_microbatches(p, virtual_stages, PERCENT) for virtual_stages in (1, v))
    asked = [
        Quantity(
            plain, equal=plain - 1, below_of_work=of_whole * (p - 1) + 1, of_work=of_whole * (p - 1),
            all_ranks=(of_whole - 1) * p + 1, rule_of_thumb=4 * p,
        ),
        Quantity(looped, plain=plain, rounded_down=looped - 1, not_whole=(of_whole - 1) * (p - 1) / v, more=v * plain),
    ]  # fmt: skip
    bubbles = {"plain_bubble": (p - 1) / (plain + p - 1), "looped_bubble": (p - 1) / (v * looped + p - 1)}
    return asked, {"part": PERCENT / 100, "plain": plain, "looped": looped, **bubbles}


def held() -> Numbers:
    p, m = HELD_RANKS, HELD_MICROBATCHES
    one, gpipe, h1, h2 = (
        getattr(schedules, name)(p, m).peak_activations for name in ("one_f_one_b", "gpipe", "zb_h1", "zb_h2")
    )
    asked = [
        Quantity(one[0], gpipe=m, behind=p - 1, last=one[-1]),
        Quantity(one[-1], first=p, two=2, none=0, gpipe=m),
        Quantity(gpipe[0], ranks=p, one_fewer=m - 1, divided=m / p),
        Quantity(h1[-1], one_f_one_b=1, zb_h2=2 * p - 1, put_off=2),
        Quantity(h2[0], zb_h1=p, one_more=2 * p, more_than_gpipe=m),
    ]
    return asked, {"h2": 2 * p - 1}


def boundary_bytes(stages: int, microbatches: int, b: int, T: int, C: int) -> int:
    """Return the bytes over all boundaries per step: activations [b, T, C] and their gradients back, in float32."""
    return 2 * (stages - 1) * microbatches * b * T * C * FLOAT32_BYTES


def boundaries(m: int, b: int, T: int, C: int) -> Numbers:
    p, v = RANKS, VIRTUAL_STAGES
    one, line, loop = (boundary_bytes(stages, m, b, T, C) for stages in (2, p, v * p))
    asked = [
        Quantity(
            one, half=one / 2, one_microbatch=one / m, elements=one / FLOAT32_BYTES, one_position=one / T, twice=2 * one
        ),
        Quantity(line, one_boundary=one, stages=p * one, one_way=line / 2, one_short=(p - 2) * one),
        Quantity(loop, plain=line, near=v * line, virtual_stages=v * p * one, divided=line / v),
    ]
    return asked, {"one": one, "line": line, "loop": loop}


def lengths_ms() -> tuple[float, float, float]:
    """Return ZB-H2's times in 03.5: (makespan, longest span of a rank, work of a rank)."""
    timeline = simulate(schedules.zb_h2(RANKS, MICROBATCHES), UNEVEN_MS)
    work = MICROBATCHES * (UNEVEN_MS.forward + UNEVEN_MS.backward_input + UNEVEN_MS.backward_weight)
    return timeline.makespan_s, work / (1 - timeline.bubble_rate), work


def two_bubbles() -> Numbers:
    whole, span, work = lengths_ms()
    fraction, rate = 1 - work / whole, 1 - work / span
    outside = {"outside": 1 - span / whole, "all_ranks": RANKS * fraction}
    asked = [
        Quantity(fraction, of_rate=rate, of_work=whole / work - 1, **outside, **ROUNDED),
        Quantity(rate, of_fraction=fraction, of_work=span / work - 1, nothing=0.0, **ROUNDED),
    ]
    return asked, {"whole": whole, "span": span, "work": work, "fraction": fraction, "rate": rate}
