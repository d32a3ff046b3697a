"""Interrupts, ends, children and random numbers of ranks: as those of any Python process."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import GROUP_TIMEOUT_S
from failing_programs import raised
from stuck_programs import agree

from lab_utils import start_ranks
from lab_utils.comm import report
from lab_utils.ranks import RankDied, Ranks

SIZE = 2
SAVING_S = 0.7  # several times as long as the notebook waits between two looks


@pytest.fixture(scope="module")
def ranks() -> Iterator[Ranks]:
    with start_ranks(SIZE, timeout_s=GROUP_TIMEOUT_S) as ranks:
        yield ranks


def interrupt_once_all_are_under_way() -> Callable[[int, dict], None]:
    begun = set()

    def listen(rank: int, _: dict) -> None:
        begun.add(rank)
        if len(begun) == SIZE:
            threading.Timer(0, os.kill, (os.getpid(), signal.SIGINT)).start()

    return listen


# ------------------------------------------------------------------ interrupts
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


@pytest.mark.parametrize("wait", [compute, wait_for_a_message, train_with_ddp])
def test_an_interrupt_is_one_and_a_program_may_handle_it(ranks: Ranks, wait: Callable[[], None]) -> None:
    found = ranks.run(save_when_interrupted, wait, on_report=interrupt_once_all_are_under_way())
    assert found == ["saved, interrupted 0 times more"] * SIZE
    assert ranks.run(agree) == [1.0] * SIZE


def test_an_interrupt_ends_what_a_rank_waits_for_outside_python(ranks: Ranks) -> None:
    def run_a_child() -> None:
        report(begun=True)
        print(os.waitstatus_to_exitcode(os.system("exec sleep 1000")))

    with pytest.raises(KeyboardInterrupt, match="^ranks 0-1 interrupted$"):
        ranks.run(run_a_child, on_report=interrupt_once_all_are_under_way())
    assert ranks.run(agree) == [1.0] * SIZE


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


def test_a_handler_of_the_programs_own_is_called_once(ranks: Ranks) -> None:
    with pytest.raises(KeyboardInterrupt, match="^ranks 0-1 interrupted$"):
        ranks.run(lambda: print(handler_of_its_own()), on_report=interrupt_once_all_are_under_way())
    assert ranks.run(agree) == [1.0] * SIZE


# ------------------------------------------------------------------ random numbers
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


def test_ranks_draw_different_numbers_unless_seeded(ranks: Ranks) -> None:
    drawn = [ranks.run(draw)]
    raised(RankDied, ranks.run, lambda: os.kill(os.getpid(), signal.SIGKILL) if os.environ["RANK"] == "1" else None)
    drawn += [raised(RankDied, ranks.run, lambda: os._exit(3)) and ranks.run(draw)]
    numbers = [number for call in drawn for rank in call for number in rank]
    assert len(set(numbers)) == len(numbers) == 2 * SIZE * 3
    assert len(set(ranks.run(draw_seeded))) == 1


# ------------------------------------------------------------------ children
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


def test_children_of_ranks_end_by_sigterm(ranks: Ranks) -> None:
    assert ranks.run(end_children) == [[-signal.SIGTERM] * 4] * SIZE


# ------------------------------------------------------------------ ends
def leave_things_open(folder: str) -> None:
    import atexit
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


def save_at_the_end(folder: str) -> None:
    try:
        report(begun=True)
        compute()
    finally:
        Path(folder, f"finally-{os.environ['RANK']}").touch()


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


AT_THE_END = {f"text-{rank}": "unflushed" for rank in range(SIZE)} | {f"atexit-{rank}": "" for rank in range(SIZE)}


@pytest.mark.parametrize("fork", [True, False])
def test_ranks_end_as_processes_do(tmp_path: Path, fork: bool, capsys: pytest.CaptureFixture) -> None:
    with start_ranks(SIZE, fork=fork) as ranks:
        ranks.run(leave_things_open, str(tmp_path))
    assert files(tmp_path) == AT_THE_END
    assert capsys.readouterr().out == "ranks 0-1: goodbye\n"


def test_a_call_that_runs_when_the_ranks_stop_comes_to_its_finally(tmp_path: Path) -> None:
    with start_ranks(SIZE) as ranks:
        ranks.run(leave_things_open, str(tmp_path))
        begun = []

        def stop_once_all_are_under_way(rank: int, _: dict) -> None:
            begun.append(rank)
            if len(begun) == SIZE:
                threading.Thread(target=ranks._crew.end).start()

        with pytest.raises(RankDied):
            ranks.run(save_at_the_end, str(tmp_path), on_report=stop_once_all_are_under_way)
    assert files(tmp_path) == AT_THE_END | {f"finally-{rank}": "" for rank in range(SIZE)}
