"""The controller asks for heartbeats while ranks register, and not while they are idle."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from lab_utils.ranks import RankDied, Ranks


def kill_rank_1() -> None:
    if os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)


def test_nothing_beats_once_the_ranks_are_there(ranks2: Ranks) -> None:
    (monitor,) = psutil.Process(ranks2._engines.controller_pid).children()
    assert monitor.status() == psutil.STATUS_STOPPED
    with pytest.raises(RankDied):
        ranks2.run(kill_rank_1)
    assert ranks2.run(os.getpid) == [rank.pid for rank in ranks2.status()]  # the new one was heard
    assert monitor.status() == psutil.STATUS_STOPPED
