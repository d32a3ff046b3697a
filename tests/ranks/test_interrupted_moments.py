"""Ctrl-C at moments that leave something half done: while a call is sent, and while a dead rank is replaced."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import ipyparallel as ipp
import psutil
import pytest
from conftest import GROUP_TIMEOUT_S
from stuck_programs import agree, end_this_rank, wait_for_one_another

from lab_utils import start_ranks
from lab_utils.ranks import RankDied, Ranks

SIZE = 3


@pytest.fixture(scope="module")
def ranks() -> Iterator[Ranks]:
    with start_ranks(SIZE, timeout_s=GROUP_TIMEOUT_S) as ranks:
        yield ranks


def test_an_interrupt_while_a_call_is_sent_ends_it_on_all_ranks(ranks: Ranks, monkeypatch: pytest.MonkeyPatch) -> None:
    send, sent = ipp.Client.send_apply_request, []

    def interrupted(*args: object, **kwargs: object) -> object:
        sent.append(1)
        if len(sent) == 2:  # the first rank has the call, the second has not
            signal.raise_signal(signal.SIGINT)
        return send(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(ipp.Client, "send_apply_request", interrupted)
        with pytest.raises(KeyboardInterrupt, match="^ranks 0-2 interrupted$"):
            ranks.run(wait_for_one_another)
    assert ranks.run(agree) == [3.0] * SIZE


def processes() -> int:
    return len(psutil.Process().children(recursive=True))


@pytest.mark.parametrize("after_s", [0.01, 0.1, 0.2])
def test_an_interrupt_of_a_replacement_leaves_no_process_behind(ranks: Ranks, after_s: float) -> None:
    before = processes()
    with pytest.raises(RankDied):
        ranks.run(end_this_rank, 1, signal.SIGKILL)
    pressed = threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):  # the replacement may be over by then
        pressed.start()
        ranks.run(agree)
        pressed.join()
    assert ranks.run(agree) == [3.0] * SIZE
    assert processes() == before


def test_the_end_of_a_process_that_is_no_rank_is_nobodys_death(ranks: Ranks) -> None:
    ranks._engines._note_end(pid=1, exit_code=-signal.SIGKILL)
    ranks._must_form = True
    assert ranks.run(agree) == [3.0] * SIZE


def test_a_new_rank_that_ends_at_once_is_replaced_again(ranks: Ranks, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RankDied):
        ranks.run(end_this_rank, 1, signal.SIGKILL)
    engines, reach, ended = ranks._engines, ranks._engines.guards.reach, threading.Event()

    def reach_and_end(rank: int, address: str) -> None:
        reach(rank, address)
        engines.on_death = lambda _: ended.set()
        os.kill(engines.members[rank].pid, signal.SIGKILL)
        assert ended.wait(60)

    with monkeypatch.context() as patched:
        patched.setattr(engines.guards, "reach", reach_and_end)
        with pytest.raises(RuntimeError, match="one of them was ended by SIGKILL"):
            ranks.run(agree)
    with pytest.raises(RankDied, match="between two calls"):
        ranks.run(agree)
    assert ranks.run(agree) == [3.0] * SIZE
