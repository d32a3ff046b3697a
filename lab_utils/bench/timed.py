"""Timers: a fresh Python until it is ready, and the steps of two programs in turns on the same ranks."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from lab_utils.bench.figures import Sample

READY = "print('ready', flush=True)"
_END_S = 15.0
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def seconds_until_ready(program: str, *arguments: str) -> float:
    """Return the seconds from starting `python -c program arguments` until its first line, which must be "ready".

    Then close its stdin and wait for its exit. RuntimeError, with its last line of stderr, when it fails.
    """
    # In a new session: Ctrl-C reaches only this process, which then interrupts the child.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as words:
        began_s = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, encoding="utf-8", start_new_session=True,
        )  # fmt: skip
        try:
            line = child.stdout.readline()
            took_s = time.perf_counter() - began_s
            child.stdin.close()
            status = child.wait()
        except BaseException:
            _end(child)
            raise
        finally:
            for pipe in (child.stdin, child.stdout):
                pipe.close()
        if line.strip() != "ready" or status:
            raise RuntimeError(f"a measured program ended with exit status {status}: {_last_line(words)}")
    return took_s


def _end(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGINT)  # lets it stop what it started
    try:
        child.wait(_END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _last_line(words: IO[str]) -> str:
    words.seek(0)
    lines = [_COLOUR.sub("", line).strip() for line in words]
    return next((line for line in reversed(lines) if line), "it said nothing")


WARM_UP, STEPS_EACH = 4, 2


def in_turns(lab: Callable[[], Any], torch: Callable[[], Any], turns: int) -> list[tuple[float, float]]:
    """On a rank: return seconds of a step by the lab and by PyTorch, in pairs; the order alternates.

    So both see the same disturbances.
    """
    return [_turn(lab, torch, turn) for turn in range(WARM_UP + turns)][WARM_UP:]


def _turn(lab: Callable[[], Any], torch: Callable[[], Any], turn: int) -> tuple[float, float]:
    if turn % 2:
        return _seconds(lab), _seconds(torch)
    torch_s = _seconds(torch)
    return _seconds(lab), torch_s


def _seconds(step: Callable[[], Any]) -> float:
    """Seconds of one step, between barriers."""
    import torch.distributed as dist

    dist.barrier()
    began_s = time.perf_counter()
    for _ in range(STEPS_EACH):
        step()
    dist.barrier()
    return (time.perf_counter() - began_s) / STEPS_EACH


def slowest(by_rank: Sequence[Sequence[tuple[float, float]]], per_s: float = 1e3) -> Iterator[Sample]:
    """Yield a sample of each pair of seconds that the ranks measured: a step takes as long as on the slowest rank."""
    for of_ranks in zip(*by_rank, strict=True):
        lab_s, torch_s = map(max, zip(*of_ranks, strict=True))
        yield Sample(per_s * lab_s, per_s * torch_s)
