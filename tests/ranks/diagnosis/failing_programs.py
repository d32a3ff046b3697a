"""Programs for ranks that fail in one way each, and what the tests of failures share."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest


def total_of_ranks() -> float:
    import torch
    import torch.distributed as dist

    total = torch.tensor(float(dist.get_rank()))
    dist.all_reduce(total)
    return total.item()


def raise_on_one(rank: int) -> None:
    import torch
    import torch.distributed as dist

    if dist.get_rank() == rank:
        raise ValueError("the shard is empty")
    dist.all_reduce(torch.ones(4))


def skip_on_one(rank: int) -> None:
    import torch
    import torch.distributed as dist

    if dist.get_rank() != rank:
        dist.all_reduce(torch.ones(4))


def raise_everywhere() -> None:
    import torch.distributed as dist

    raise KeyError(f"w{dist.get_rank() // 2}")


def kill_one(rank: int, how: int) -> None:
    import os

    import torch
    import torch.distributed as dist

    if dist.get_rank() == rank:
        os.kill(os.getpid(), how)
    dist.all_reduce(torch.ones(4))


def leave_one(rank: int) -> None:
    import os

    import torch.distributed as dist

    if dist.get_rank() == rank:
        os._exit(7)


def end_at_once(*_: object) -> None:
    """Lies here because a rank loads the whole file of a function: that of the tests loads Hypothesis and widgets."""
    import os

    os._exit(5)


def compute_for_ever() -> None:
    from lab_utils.comm import report

    report(started=1)
    while True:
        pass


def wait_for_one_another() -> None:
    import torch
    import torch.distributed as dist

    from lab_utils.comm import report

    report(started=1)
    dist.recv(torch.ones(4), (dist.get_rank() + 1) % 3)


def raised(expected: type[BaseException], call: Callable, *args: object, in_time: bool = True) -> BaseException:
    """What the call raises. `in_time`: because no rank had to wait for the time-out of its group."""
    with pytest.raises(expected) as caught:
        call(*args)
    timed_out = [f.rank for f in getattr(caught.value, "failures", ()) if "Timed out" in f.message]
    assert not (in_time and timed_out), f"ranks {timed_out} waited for the time-out"
    return caught.value


def line_of(function: Callable, text: str) -> int:
    """The line of its file on which `text` stands inside `function`."""
    lines, first = inspect.getsourcelines(function)
    return first + next(i for i, line in enumerate(lines) if text in line)


def mistake_in_an_op() -> None:
    import torch
    import torch.distributed as dist

    dist.all_gather_single(torch.empty(5), torch.ones(4))  # no multiple of 4
