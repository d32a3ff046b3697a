"""After a failure, a death or an interrupt: the ranks are back, hold what they held, and work in the same groups."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import stuck_programs as programs
from conftest import GROUP_TIMEOUT_S
from failing_programs import raised

from lab_utils import start_ranks
from lab_utils.ranks import RankDied, RankError, Ranks, StartError, session
from lab_utils.ranks.calls import call
from lab_utils.ranks.calls.call import Call
from lab_utils.ranks.processes import engines

SIZE = 4


@pytest.fixture(scope="module")
def ranks() -> Iterator[Ranks]:
    with start_ranks(SIZE, timeout_s=GROUP_TIMEOUT_S) as ranks:
        yield ranks


@pytest.fixture(autouse=True)
def every_rank_is_usable_after_it(ranks: Ranks) -> Iterator[None]:
    yield
    assert ranks.run(programs.agree) == [6.0] * SIZE


def pids(ranks: Ranks) -> list[int]:
    return [rank.pid for rank in ranks.status() if rank.alive]


def interrupt_once_all_are_under_way() -> Callable[[int, dict], None]:
    heard: set[int] = set()

    def listener(rank: int, _: dict) -> None:
        heard.add(rank)
        if len(heard) == SIZE:
            signal.raise_signal(signal.SIGINT)

    return listener


# ------------------------------------------------------------------ interrupts
@pytest.mark.parametrize(
    "program",
    [
        programs.ddp_for_ever,
        programs.fsdp_for_ever,
        programs.pipeline_for_ever,
        programs.messages_for_ever,
        programs.wait_for_one_another,
    ],
)
def test_an_interrupt_brings_every_rank_back(ranks: Ranks, program: Callable) -> None:
    before = pids(ranks)
    with pytest.raises(KeyboardInterrupt, match="^ranks 0-3 interrupted$"):
        ranks.run(program, on_report=interrupt_once_all_are_under_way())
    assert ranks.run(programs.agree) == [6.0] * SIZE
    assert pids(ranks) == before


def test_an_interrupt_ends_the_wait_in_ddps_backward(ranks: Ranks, tmp_path: Path) -> None:
    """While the other ranks still handle it: no connection ends before rank 0 has left."""
    with pytest.raises(KeyboardInterrupt, match="^ranks 0-3 interrupted$"):
        ranks.run(
            programs.wait_in_ddp_for_ranks_that_save,
            tmp_path / "left",
            on_report=interrupt_once_all_are_under_way(),
        )
    assert ranks.run(programs.agree) == [6.0] * SIZE


def test_a_rank_that_takes_no_notice_is_ended_by_a_third_interrupt(
    ranks: Ranks, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, calls = pids(ranks), []

    class Watched(Call):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)
            calls.append(self)

    def interrupt_again() -> None:
        while not calls or calls[0].waiting != {1}:  # until the first has ended the other ranks' calls
            time.sleep(0.01)
        for heeded in (1, 2):
            while calls[0]._heeded < heeded:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

    said = "^ranks 0-3 interrupted; rank 1 took no notice and had to be ended$"
    with monkeypatch.context() as patched:
        patched.setattr(session, "Call", Watched)
        threading.Thread(target=interrupt_again).start()
        with pytest.raises(KeyboardInterrupt, match=said):
            ranks.run(programs.take_no_notice, 1, on_report=interrupt_once_all_are_under_way())
    raised(RankDied, ranks.run, programs.agree)
    after = pids(ranks)
    assert [a == b for a, b in zip(after, before, strict=True)] == [True, False, True, True]


def test_a_rank_that_takes_no_notice_of_a_listeners_error_is_ended(
    ranks: Ranks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody presses twice here, and the next call must not wait for it."""

    def listener(rank: int, values: dict) -> None:
        raise LookupError("no such curve")

    with monkeypatch.context() as patched:
        patched.setattr(call, "GIVE_UP_S", 0.5)
        with pytest.raises(LookupError, match="no such curve"):
            ranks.run(programs.take_no_notice, 1, on_report=listener)
    raised(RankDied, ranks.run, programs.agree)
    assert ranks.run(programs.agree) == [6.0] * SIZE


# ------------------------------------------------------------------ what ranks hold
def hold(value: str) -> None:
    import __main__

    __main__.held = value


def held() -> str | None:
    import __main__

    return getattr(__main__, "held", None)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_dead_rank_is_replaced_and_the_others_keep_what_they_hold(ranks: Ranks, how: signal.Signals) -> None:
    ranks.run(hold, "kept")
    before = pids(ranks)
    error = raised(RankDied, ranks.run, programs.end_this_rank, 2, how)
    assert str(error) == (
        f"rank 2 was ended by {how.name}: a new rank 2 starts at the next call, without what the old held"
    )
    assert error.deaths == {2: -how}
    assert "ranks 0-1, 3 were left waiting in all_reduce #0 of shape [4] on world" in _uncounted(error.details)
    assert [rank.alive for rank in ranks.status()] == [True, True, False, True]
    assert ranks.run(held) == ["kept", "kept", None, "kept"]
    assert [pid for pid in pids(ranks) if pid in before] == [before[0], before[1], before[3]]


def _uncounted(text: str) -> str:
    import re

    return re.sub(r"#\d+", "#0", text)


def test_all_ranks_may_die(ranks: Ranks) -> None:
    error = raised(RankDied, ranks.run, lambda: os._exit(7))
    assert str(error) == (
        "ranks 0-3 ended with exit code 7: new ranks 0-3 start at the next call, without what the old held"
    )
    assert error.deaths == dict.fromkeys(range(SIZE), 7)


def test_a_rank_that_died_between_two_calls_is_told_of_once(ranks: Ranks) -> None:
    victim = psutil.Process(ranks.status()[1].pid)
    victim.kill()
    while 1 not in ranks._engines.dead:
        time.sleep(0.01)  # the notebook is told from another thread
    error = raised(RankDied, ranks.run, programs.agree)
    assert str(error) == (
        "rank 1 was ended by SIGKILL between two calls: "
        "a new rank 1 started, without what the old held; run the cell again"
    )


def test_the_process_that_forks_the_ranks_may_die(ranks: Ranks) -> None:
    parent = psutil.Process(pids(ranks)[0]).parent()
    assert parent.pid != os.getpid()
    threading.Timer(0.5, parent.kill).start()
    error = raised(RankDied, ranks.run, time.sleep, 60)
    assert error.deaths == dict.fromkeys(range(SIZE), -signal.SIGKILL)


def test_the_controller_may_die(ranks: Ranks) -> None:
    controller = psutil.Process(ranks._engines.controller_pid)
    below = controller.children(recursive=True)
    threading.Timer(0.5, controller.kill).start()
    error = raised(RankDied, ranks.run, time.sleep, 60)
    assert "ranks 0-3 were ended because ipyparallel's controller was ended by SIGKILL" in str(error)
    assert ranks.run(programs.agree) == [6.0] * SIZE
    assert below and psutil.wait_procs(below, timeout=0)[1] == []


# ------------------------------------------------------------------ sockets of the user's
def open_a_socket(port: int) -> None:
    import __main__

    __main__.line = socket.create_connection(("127.0.0.1", port))


def speak() -> None:
    import __main__

    __main__.line.sendall(b"still here\n")


def test_the_user_s_own_sockets_are_left_alone(ranks: Ranks) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ranks.run(open_a_socket, server.getsockname()[1])
        lines = [server.accept()[0] for _ in range(SIZE)]
        raised(RankError, ranks.run, programs.fail_on_one)
        with pytest.raises(KeyboardInterrupt):
            ranks.run(programs.wait_for_one_another, on_report=interrupt_once_all_are_under_way())
        ranks.run(speak)
        for line in lines:
            with line, line.makefile() as text:
                assert text.readline() == "still here\n"


# ------------------------------------------------------------------ stopped
def test_a_stopped_rank_is_shown_and_goes_on_when_let(ranks: Ranks) -> None:
    victim = psutil.Process(ranks.status()[2].pid)
    victim.suspend()
    total: list[float] = []
    running = threading.Thread(target=lambda: total.extend(ranks.run(programs.agree)))
    running.start()
    while not (status := ranks.status())[0].waits_for:
        time.sleep(0.01)
    assert status[2].doing == "stopped by a signal" and status[2].alive
    assert status[0].waits_for == "rank 2" and "rank 2" in status.says
    victim.resume()
    running.join()
    assert total == [6.0] * SIZE


# ------------------------------------------------------------------ what ranks publish
def test_ranks_whose_reports_were_lost_are_asked_again(ranks: Ranks, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when zmq connects a new rank only after its first answers: what it published until then is lost."""
    from ipyparallel import AsyncResult

    lost = []

    def wait_for_output(answer: AsyncResult, timeout: float = -1) -> bool:
        heard = waited(answer, timeout)
        if len(lost) < SIZE:
            lost.append(answer)
            return False
        return heard

    waited = AsyncResult.wait_for_output
    monkeypatch.setattr(AsyncResult, "wait_for_output", wait_for_output)
    raised(RankError, ranks.run, programs.fail_on_one)
    ranks.run(programs.agree)
    assert len(lost) == SIZE


def test_ranks_that_are_never_heard_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from ipyparallel import AsyncResult

    monkeypatch.setattr(AsyncResult, "wait_for_output", lambda answer, timeout: time.sleep(timeout))
    monkeypatch.setattr(engines, "_JOIN_EXTRA_S", 0)
    with pytest.raises(StartError, match="^what rank 0 published did not arrive within 5 s$"):
        start_ranks(1, timeout_s=5)
