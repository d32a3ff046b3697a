"""Interrupts, ends, children and random numbers of ranks: as those of any Python process."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import process_programs as programs
import pytest
from conftest import GROUP_TIMEOUT_S
from failing_programs import raised
from stuck_programs import agree

from lab_utils import start_ranks
from lab_utils.ranks import RankDied, Ranks, RanksError

SIZE = 2


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
@pytest.mark.parametrize("wait", [programs.compute, programs.wait_for_a_message, programs.train_with_ddp])
def test_an_interrupt_is_one_and_a_program_may_handle_it(ranks: Ranks, wait: Callable[[], None]) -> None:
    found = ranks.run(programs.save_when_interrupted, wait, on_report=interrupt_once_all_are_under_way())
    assert found == ["saved, interrupted 0 times more"] * SIZE
    assert ranks.run(agree) == [1.0] * SIZE


def test_an_interrupt_ends_what_a_rank_waits_for_outside_python(ranks: Ranks) -> None:
    with pytest.raises(KeyboardInterrupt, match="^ranks 0-1 interrupted$"):
        ranks.run(programs.wait_for_a_child, on_report=interrupt_once_all_are_under_way())
    assert ranks.run(agree) == [1.0] * SIZE


def test_a_handler_of_the_programs_own_is_called_once(ranks: Ranks) -> None:
    assert ranks.run(programs.handler_of_its_own, on_report=interrupt_once_all_are_under_way()) == [1] * SIZE
    assert ranks.run(agree) == [1.0] * SIZE


# ------------------------------------------------------------------ random numbers
def test_ranks_draw_different_numbers_unless_seeded(ranks: Ranks) -> None:
    drawn = [ranks.run(programs.draw)]
    raised(RankDied, ranks.run, lambda: os.kill(os.getpid(), signal.SIGKILL) if os.environ["RANK"] == "1" else None)
    drawn += [raised(RankDied, ranks.run, lambda: os._exit(3)) and ranks.run(programs.draw)]
    numbers = [number for call in drawn for rank in call for number in rank]
    assert len(set(numbers)) == len(numbers) == 2 * SIZE * 3
    assert len(set(ranks.run(programs.draw_seeded))) == 1


# ------------------------------------------------------------------ children
def test_children_of_ranks_end_by_sigterm(ranks: Ranks) -> None:
    assert ranks.run(programs.end_children) == [[-signal.SIGTERM] * 4] * SIZE


# ------------------------------------------------------------------ ends
def test_a_call_that_runs_when_the_ranks_stop_comes_to_its_finally(tmp_path: Path) -> None:
    with start_ranks(SIZE) as ranks:
        ranks.run(programs.leave_things_open, str(tmp_path), ranks._engines.controller_pid)
        begun, stopping = [], threading.Thread(target=ranks.stop)

        def stop_once_all_are_under_way(rank: int, _: dict) -> None:
            begun.append(rank)
            if len(begun) == SIZE:
                stopping.start()

        with pytest.raises(RanksError, match="stopped by another thread"):
            ranks.run(programs.save_at_the_end, str(tmp_path), on_report=stop_once_all_are_under_way)
        stopping.join()
    assert programs.left_in(tmp_path) == programs.at_the_end(SIZE) | {f"finally-{rank}": "" for rank in range(SIZE)}


def test_ranks_end_as_processes_do(ranks: Ranks, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Comes last, as it stops this file's ranks; those that ipyparallel starts, in test_ranks.py."""
    ranks.run(programs.leave_things_open, str(tmp_path), ranks._engines.controller_pid)
    ranks.stop()
    assert programs.left_in(tmp_path) == programs.at_the_end(SIZE)
    assert capsys.readouterr() == ("ranks 0-1: goodbye\n", "")
