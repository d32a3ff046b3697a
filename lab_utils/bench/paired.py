"""Alternate the steps of two programs on the same ranks, so that both see the same disturbances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

WARM_UP, STEPS_EACH = 4, 2


def in_turns(lab: Callable[[], Any], torch: Callable[[], Any], turns: int) -> list[tuple[float, float]]:
    """On a rank: seconds of a step by the lab and by PyTorch, in pairs; the order alternates."""
    return [_turn(lab, torch, turn) for turn in range(WARM_UP + turns)][WARM_UP:]


def _turn(lab: Callable[[], Any], torch: Callable[[], Any], turn: int) -> tuple[float, float]:
    if turn % 2:
        return _seconds(lab), _seconds(torch)
    torch_s = _seconds(torch)
    return _seconds(lab), torch_s


def _seconds(step: Callable[[], Any]) -> float:
    """Seconds of one step, between barriers."""
    import time

    import torch.distributed as dist

    dist.barrier()
    began_s = time.perf_counter()
    for _ in range(STEPS_EACH):
        step()
    dist.barrier()
    return (time.perf_counter() - began_s) / STEPS_EACH
