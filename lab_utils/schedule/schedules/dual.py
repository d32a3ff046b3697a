"""Bidirectional schedules: DualPipe, and DualPipeV, which does the same with half of the ranks."""

from __future__ import annotations

from collections import deque

from lab_utils.schedule.schedule import BW, B, F, Schedule, Step, W, check_sizes

NEAR, FAR = 0, 1  # a rank's virtual stage that a micro-batch passes first, and the one it passes second


def dualpipe(ranks: int, microbatches: int) -> Schedule:
    """DualPipe: micro-batches enter at both ends; rank r holds stages r and p - 1 - r, so every stage has two copies.

    DeepSeek-AI 2024, "DeepSeek-V3 Technical Report", section 3.2.1. As many stages as ranks, an even number. A rank
    holds p + 1 micro-batches, and twice the weights. DeepSeek overlaps a forward and a backward that end together,
    F&B, and gives a rank's bubble as (p/2 - 1)(F&B + BW - 3W). Here they run one after the other: the time saved by
    the overlap is not modelled, and a rank's bubble is half as long, p/2 - 1, if F, B and W take 1. This holds for
    even m >= 2p; others wait longer. The first half of the micro-batches (rounded up) enters at rank 0.
    """
    check_sizes(microbatches, ranks=ranks)
    if ranks % 2:
        raise ValueError(f"ranks={ranks}: DualPipe pairs rank r with rank p - 1 - r, so it takes an even number")
    ahead = (microbatches + 1) // 2
    orders = []
    for rank in range(ranks):
        mirrored = rank >= ranks // 2
        near = ranks - 1 - rank if mirrored else rank
        entered = (ahead, microbatches - ahead), (0, ahead)  # per direction: number of micro-batches, and the first
        count, start = (side[::-1] if mirrored else side for side in entered)
        stages = near, ranks - 1 - near
        steps = _steps(ranks // 2, near, max(ranks, ahead))
        orders.append([(k, stages[way], start[way] + i) for k, way, i in steps if i < count[way]])
    return Schedule.of_steps("DualPipe", orders, ranks, microbatches, copies=2)


def dualpipe_v(ranks: int, microbatches: int) -> Schedule:
    """DualPipeV, on half of DualPipe's ranks: rank r holds stages r and 2p - 1 - r; micro-batches pass both.

    Sea AI Lab 2025, "DualPipe could be better without the Dual", and the README of DeepSeek's DualPipe. 2 x ranks
    stages of the model; as DualPipe on twice the ranks, with stages half as long. A rank holds p + 1/2 micro-batches.
    """
    check_sizes(microbatches, ranks=ranks)
    orders = []
    for rank in range(ranks):
        stages = rank, 2 * ranks - 1 - rank
        steps = _steps(ranks, rank, max(2 * ranks, microbatches))
        orders.append([(k, stages[way], i) for k, way, i in steps if i < microbatches])
    return Schedule.of_steps("DualPipeV", orders, 2 * ranks, microbatches)


def _steps(half: int, near: int, count: int) -> list[Step]:
    """Steps (kind, NEAR or FAR, micro-batch) of rank `near`; `count` >= 2 x half micro-batches pass each virtual stage.

    The distance from the middle determines how many forwards run before the far virtual stage's first one, and how many
    weight gradients fill the pauses at the beginning and the end.
    """
    out, rank = half - 1 - near, _Rank()  # ranks between this one and the middle
    for _ in range(2 * out):
        rank.run("F", NEAR)
    for _ in range(near + 1):
        rank.run("F", NEAR), rank.run("F", FAR)
    for _ in range(out):
        rank.run("B", FAR), rank.run("W"), rank.run("F", FAR)
    for _ in range(count - 2 * half + near + 1):
        rank.run("F", NEAR), rank.run("BW", FAR), rank.run("F", FAR), rank.run("BW", NEAR)
    for _ in range(out):
        rank.run("BW", FAR), rank.run("F", FAR), rank.run("BW", NEAR)
    for turn in range(2 * (near + 1)):
        rank.run("B" if turn > near else "BW", NEAR if turn % 2 else FAR)
    for _ in range(out):
        rank.run("W"), rank.run("B", NEAR)
    for _ in range(near + 1):
        rank.run("W")
    return rank.steps


class _Rank:
    """One rank's steps, with counters per kind and virtual stage and a queue of pending weight gradients."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._next = {(word, virtual_stage): 0 for word in "FB" for virtual_stage in (NEAR, FAR)}
        self._late: deque[tuple[int, int]] = deque()

    def run(self, word: str, virtual_stage: int = NEAR) -> None:
        if word == "W":
            self.steps.append((W, *self._late.popleft()))
            return
        number = self._next[word[0], virtual_stage]
        self._next[word[0], virtual_stage] += 1
        self.steps.append(({"F": F, "B": B, "BW": BW}[word], virtual_stage, number))
        if word == "B":
            self._late.append((virtual_stage, number))
