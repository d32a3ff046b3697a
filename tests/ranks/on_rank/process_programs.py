"""Programs for two ranks: interrupted, with random numbers, children, and things left open at the end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from rank_processes import GONE_S

from lab_utils.comm import report
from lab_utils.ranks.processes.reaper import still_running

SAVING_S = 0.7  # several times as long as the notebook waits between two looks


def save_when_interrupted(wait: Callable[[], None]) -> str:
    try:
        report(begun=True)  # the interrupt comes as soon as it is heard
        wait()
    except KeyboardInterrupt:
        until_s, again = time.monotonic() + SAVING_S, 0
        while time.monotonic() < until_s:
            try:
                time.sleep(0.01)
            except KeyboardInterrupt:
                again += 1
        return f"saved, interrupted {again} times more"
    return "never interrupted"


def compute() -> None:
    while True:
        time.sleep(0.01)


def wait_for_a_message() -> None:
    import torch
    import torch.distributed as dist

    dist.recv(torch.ones(1), (dist.get_rank() + 1) % 2)


def train_with_ddp() -> None:
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    model = DistributedDataParallel(torch.nn.Linear(2, 2))
    while True:
        model(torch.ones(1, 2)).sum().backward()
        dist.barrier()


def handler_of_its_own() -> int:
    interrupts = []
    signal.signal(signal.SIGINT, lambda *_: interrupts.append(1))
    report(begun=True)
    until_s = None
    while until_s is None or time.monotonic() < until_s:
        time.sleep(0.01)
        if interrupts and until_s is None:
            until_s = time.monotonic() + SAVING_S
    return len(interrupts)


def draw() -> tuple[float, float, float]:
    import random

    import numpy as np
    import torch

    return random.random(), float(np.random.rand()), float(torch.rand(()))


def draw_seeded() -> tuple[float, float, float]:
    import random

    import numpy as np
    import torch

    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    return draw()


def end_children() -> list[int]:
    import multiprocessing

    context = multiprocessing.get_context("fork")
    children = [context.Process(target=time.sleep, args=(1000,)) for _ in range(4)]
    for child in children:
        child.start()
        child.terminate()
    for child in children:
        child.join()
    with context.Pool(2) as pool:
        assert pool.map(abs, [1, -2]) == [1, 2]
    return [child.exitcode for child in children]


def leave_things_open(folder: str, controller: int) -> None:
    import atexit
    import ctypes
    import multiprocessing
    import tempfile

    import __main__

    rank = os.environ["RANK"]
    __main__.text = open(f"{folder}/text-{rank}", "w", encoding="utf-8")  # noqa: SIM115
    __main__.text.write("unflushed")
    __main__.folder = tempfile.TemporaryDirectory(dir=folder, prefix="temporary-")
    __main__.file = tempfile.NamedTemporaryFile(dir=folder, prefix="temporary-")  # noqa: SIM115
    __main__.child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,), daemon=True)
    __main__.child.start()
    atexit.register(Path(folder, f"atexit-{rank}").touch)
    atexit.register(print, "goodbye")
    threading.Thread(target=end_after, args=[controller, f"{folder}/thread-{rank}"]).start()
    c = ctypes.CDLL(None)
    c.fopen.restype = ctypes.c_void_p
    c.fputs(b"unflushed", ctypes.c_void_p(c.fopen(f"{folder}/c-{rank}".encode(), b"w")))


def left_in(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def at_the_end(ranks: int) -> dict[str, str]:
    """What `leave_things_open` has left once all of these ranks have ended, as processes do."""
    unflushed = {f"{name}-{rank}": "unflushed" for rank in range(ranks) for name in ("text", "c")}
    return unflushed | {f"{name}-{rank}": "" for rank in range(ranks) for name in ("atexit", "thread")}


def end_after(process: int, file: str) -> None:
    still_running([psutil.Process(process)], GONE_S)
    Path(file).touch()


def save_at_the_end(folder: str) -> None:
    try:
        report(begun=True)
        compute()
    finally:
        Path(folder, f"finally-{os.environ['RANK']}").touch()


def wait_for_a_child() -> None:
    report(begun=True)
    os.system("exec sleep 1000")
