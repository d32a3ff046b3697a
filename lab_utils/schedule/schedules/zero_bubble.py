"""One stage a rank, backwards split into B and W: ZB-H1 and ZB-H2."""

from __future__ import annotations

import numpy as np

from lab_utils.schedule.schedule import B, F, Schedule, W
from lab_utils.schedule.schedules.made import check, one_stage_a_rank


def zb_h1(stages: int, microbatches: int) -> Schedule:
    """1F1B's memory and a third of its bubble, if F, B and W take as long: one stage a rank.

    Qi et al. 2024, "Zero Bubble Pipeline Parallelism", section 2.1. Rank r runs p - r forwards to warm up and keeps
    r weight gradients back, which fill the pauses at the end. Every rank holds p micro-batches (1F1B: p - r).
    """
    rank = np.arange(stages)[:, None]
    return _split("ZB-H1", stages, microbatches, stages - rank, rank)


def zb_h2(stages: int, microbatches: int) -> Schedule:
    """No bubble, if F, B and W take as long and m >= 2p - 1, for twice the memory: one stage a rank.

    Qi et al. 2024, "Zero Bubble Pipeline Parallelism", section 2.2. Rank r runs 2 (p - r) - 1 forwards to warm up
    and keeps 2r weight gradients back; every rank holds 2p - 1 micro-batches. Ranks start one after the other and end
    so too: the bubble rate is 0, the bubble fraction is not.
    """
    rank = np.arange(stages)[:, None]
    return _split("ZB-H2", stages, microbatches, 2 * (stages - rank) - 1, 2 * rank)


def _split(name: str, p: int, m: int, warm_up: np.ndarray, kept_back: np.ndarray) -> Schedule:
    """B, W, F in turn; each rank's forwards come `warm_up` turns before, its weight gradients `kept_back` turns later.

    warm_up, kept_back   int[p, 1]
    """
    check(m, stages=p)
    number = np.arange(m)
    turns = [number - warm_up, np.broadcast_to(number, (p, m)), number + kept_back]
    places = {B: 0, W: 1, F: 2}
    kinds = (F, B, W)
    when = np.concatenate([3 * turn + places[kind] for kind, turn in zip(kinds, turns, strict=True)], axis=1)
    order = np.argsort(when, axis=1, kind="stable")
    return one_stage_a_rank(name, m, np.repeat(np.array(kinds, np.uint8), m)[order], np.tile(number, 3)[order])
