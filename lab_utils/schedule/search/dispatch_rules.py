"""Parameters of the rules that build orders, and random draws of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lab_utils.schedule.search.problem import Problem

# Search space: slopes over the distance to the last stage, or over the stage; and a constant per count.
#          ahead       wait        late        patience    head
SLOPES = ((0.4, 2.6), (0.0, 2.0), (0.0, 2.0), (0.0, 0.4), (0.4, 2.6))
CONSTANTS = ((0.0, 3.0), (0.0, 3.0), (0.0, 1.3), (0.0, 1.5), (0.0, 3.0))
LEAST, MOST = np.array([SLOPES, CONSTANTS]).transpose(2, 1, 0).reshape(2, -1)
STEP = np.array([0.3, 0.7, 0.3, 0.7, 0.4, 0.15, 0.07, 0.15, 0.3, 0.7])
AT_NOTHING = np.array([0, 0, 0.3, 0, 0.3, 0, 0.3, 0.3, 0, 0])  # probability that a number is 0, which is often best
RULES = (4, 4, 2, 2)  # choices: priority of B, of F, whether F before B, whether to use the bound's warm-up


@dataclass(frozen=True, eq=False)
class Rules:
    """Arguments of order_by_rules.build besides the problem, derived from ten numbers that hold for all ranks."""

    counts: np.ndarray
    patience: np.ndarray
    rule: np.ndarray

    @classmethod
    def of(cls, problem: Problem, numbers: np.ndarray, rule: np.ndarray, warm_up: np.ndarray | None) -> Rules:
        """counts[0] and [1] grow with the distance to the last stage: further from it, more is in flight.

        warm_up   int64[S]: forwards before the first backward, for rules that use them
        """
        stage = np.arange(problem.stages)
        behind = stage[::-1]
        ahead, ahead_1, wait, wait_1, late, late_m, patient_f, patient_w, head, head_1 = numbers
        rows = (
            warm_up if rule[3] and warm_up is not None else 1 + head_1 + head * behind,
            1 + ahead_1 + ahead * behind,
            wait_1 + wait * stage,
            late_m * problem.microbatches + late * stage,
        )
        return cls(np.floor(np.array(rows) + 1e-9).astype(np.int64), np.array([patient_f, patient_w]), rule)


class Draws:
    """Random parameters of the rules: uniform, or near given ones. Deterministic for a seed."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.Generator(np.random.PCG64(seed)).random

    def anywhere(self) -> tuple[np.ndarray, np.ndarray]:
        numbers = LEAST + (MOST - LEAST) * self._random(len(STEP))
        numbers[self._random(len(STEP)) < AT_NOTHING] = 0.0
        return numbers, (self._random(len(RULES)) * RULES).astype(np.int64)

    def near(self, numbers: np.ndarray, rule: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Change about three of the numbers, and each choice with probability 0.05."""
        changes = self._random(len(STEP)) < 0.3
        by = STEP * (self._random((3, len(STEP))).sum(0) * 2 - 3)  # about as a normal distribution of 1 would
        other = (self._random(len(RULES)) * RULES).astype(np.int64)
        return np.abs(numbers + changes * by), np.where(self._random(len(RULES)) < 0.05, other, rule)


def textbook() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Initial parameters: forwards ahead as in ZB-H1, ZB-H2 and between, weight gradients late or at once."""
    rule = np.array([0, 0, 1, 1])
    for slope in (1.0, 1.5, 2.0):
        for wait in (0.0, 1.0, 2.0):
            for late in (0.0, 1.0):
                for plus in (0.0, 1.0):
                    yield np.array([slope, plus, wait, 0, 0, late, 0, 0.5, slope, plus]), rule
                    yield np.array([slope, plus, wait, 0, 0, late, 0.05, 0.05, slope, plus]), rule
