"""The table of ranks: when it looks and sends, what that costs, and when its thread ends."""

from __future__ import annotations

import gc
import time

import pytest
from scripted_ranks import IN_OP, Scripted, Sent, ended, looks, status

from lab_utils.ranks.status import Status
from lab_utils.widgets import RanksStatus
from lab_utils.widgets.ranks_status import widget


def test_it_changes_while_the_main_thread_is_busy(show) -> None:
    ranks = Scripted(status("idle", "idle"))
    sent = Sent(show(ranks))
    ranks.now = status(IN_OP, "computing")
    assert sent.until(lambda state: state["rows"][0][0] == "in")["rows"][1][0] == "computing"


def test_it_sends_only_what_looks_different(show) -> None:
    ranks = Scripted(status(IN_OP, "computing", for_s=3.1))
    sent = Sent(show(ranks))
    for for_s in (3.2, 3.5, 3.9):
        ranks.now = status(IN_OP, "computing", for_s=for_s)
        looks(ranks, 2)
    assert sent.states == []
    ranks.now = status(IN_OP, "computing", for_s=4.0)
    sent.until(lambda state: state["rows"][0][4] == "4 s")
    assert len(sent.states) == 1


def test_a_failed_look_is_said_and_the_next_one_is_taken(show) -> None:
    ranks = Scripted(RuntimeError("rank 1 was stopped while writing its row of the board; restart the ranks"))
    table = show(ranks)
    assert table.state == {
        "rows": [],
        "says": "Cannot read the status of the ranks now: rank 1 was stopped while writing its row of the board; "
        "restart the ranks.",
        "alarm": True,
    }
    sent = Sent(table)
    ranks.now = status("idle", "idle")
    sent.until(lambda state: state["says"] == "Idle: no call runs.")
    ranks.now = KeyError()  # an error without words
    sent.until(lambda state: state["says"] == "Cannot read the status of the ranks now: KeyError.")


def test_ranks_that_are_stopped_and_start_again_come_back(show) -> None:
    ranks = Scripted(status("idle", "idle"))
    sent = Sent(show(ranks))
    ranks.running, ranks.now = False, RuntimeError("these ranks were stopped")
    stopped = sent.until(lambda state: not state["rows"])
    assert stopped["says"] == "These ranks are stopped: ranks.restart() starts them again." and not stopped["alarm"]
    ranks.running, ranks.now = True, status("computing", "idle")
    sent.until(lambda state: state["rows"] and state["rows"][0][0] == "computing")


def test_ranks_stopped_during_a_look_are_no_failure(show) -> None:
    ranks = Scripted(status("idle", "idle"))

    def stopped_meanwhile() -> Status:
        ranks.running = False
        raise AttributeError("board")

    ranks.status = stopped_meanwhile
    assert show(ranks).state["says"] == "These ranks are stopped: ranks.restart() starts them again."


def test_closing_ends_the_thread_at_once(show) -> None:
    ranks = Scripted(status("idle", "idle"))
    table = show(ranks, every_s=3600)
    table.close()
    assert ended(table) and table.comm is None
    table._show({"says": "too late"})  # a look that was under way
    assert table.state["says"] == "Idle: no call runs."
    table.close()


def test_it_keeps_no_ranks_alive(show) -> None:
    ranks = Scripted(status("idle", "idle"))
    table = show(ranks)
    del ranks
    gc.collect()
    assert ended(table)
    assert table.state["says"] == "Stopped: nothing refers to these ranks any more."
    gc.collect()
    assert not any(isinstance(key, Scripted) for key in widget._all_looks)


def test_ten_tables_look_as_often_as_one(show) -> None:
    ranks = Scripted(status("idle", "idle"))
    began_s = time.monotonic()
    for _ in range(10):
        show(ranks, every_s=0.2)
    looks(ranks, 4)
    assert ranks.asked <= 1 + (time.monotonic() - began_s) / 0.1  # ten tables alone would ask fifty times a second


def test_expensive_looks_are_seldom(show) -> None:
    ranks = Scripted(status("idle", "idle"), cpu_s=0.05)
    began_s = time.monotonic()
    show(ranks)
    looks(ranks, 2)
    assert time.monotonic() - began_s >= 2 * 0.05 / widget.MOST_LOAD


@pytest.mark.parametrize("every_s", [0, -1, float("nan")])
def test_a_pause_is_needed(every_s: float) -> None:
    with pytest.raises(ValueError, match=r"every_s=.*: the time between two looks must be more than 0 seconds"):
        RanksStatus(Scripted(status("idle")), every_s)
