"""Two hooks into torch: the future of a work, and the end of a backward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch._C._distributed_c10d import Work


def future_of(work: Work) -> torch.futures.Future | None:
    """None where the backend has no futures: gloo's messages and reduce-scatters."""
    try:
        return work.get_future()
    except RuntimeError as error:
        if "not implemented" in str(error):
            return None
        raise


def in_backward() -> bool:
    """Whether this thread is inside a backward pass."""
    return torch._C._current_graph_task_id() >= 0


def after_backward(callback: Callable[[], None]) -> None:
    """Call it when the present backward pass has ended, after what was queued before. Only inside a backward pass."""
    torch.autograd.Variable._execution_engine.queue_callback(callback)
