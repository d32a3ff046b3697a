"""The table of ranks, its Python side: what it shows."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest
from scripted_ranks import IN_OP, Scripted, Sent, status

from lab_utils.comm.status import shared_status
from lab_utils.ranks.status import doing_text
from lab_utils.widgets.ranks_status import widget


def test_it_shows_every_rank_at_once(show) -> None:
    says = "rank 0 is in all_reduce #7 (train.py:41); rank 1 is computing"
    table = show(Scripted(status(IN_OP, "computing", waits={0: "rank 1"}, says=says)))
    assert table.state == {
        "rows": [
            ["waiting", "0", "77 MB", IN_OP, "3 s", "rank 1"],
            ["computing", "1", "77 MB", "computing", "3 s", ""],
        ],
        "says": says,
        "alarm": True,
    }


@pytest.mark.parametrize(
    ("doing", "says", "alarm"),
    [
        (("idle", "idle"), "Idle: no call runs.", False),
        (("idle", IN_OP), "At work.", False),
        (("idle", "gone"), "Rank 1 is gone: the next ranks.run starts it again.", True),
        (("gone", "gone"), "Ranks 0-1 are gone: the next ranks.run starts them again.", True),
        (
            ("stopped by a signal", "gone"),
            "Rank 1 is gone: the next ranks.run starts it again. Rank 0 is stopped by a signal: SIGCONT lets it go on.",
            True,
        ),
    ],
)
def test_one_sentence_sums_it_up(show, doing: tuple[str, ...], says: str, alarm: bool) -> None:
    state = show(Scripted(status(*doing))).state
    assert (state["says"], state["alarm"]) == (says, alarm)


def test_a_rank_that_is_gone_has_no_memory_and_no_time(show) -> None:
    assert show(Scripted(status("idle", "gone"))).state["rows"][1] == ["gone", "1", "", "gone", "", ""]


def test_each_state_of_the_board_has_a_mark_of_its_own(show) -> None:
    rows = [
        shared_status.Row(state, 0.0, "all_reduce", "world", 7, "[4]", "train.py:41") for state in shared_status._STATES
    ]
    table = show(Scripted(status(*map(doing_text, rows), "stopped by a signal", "gone")))
    shown = [row[0] for row in table.state["rows"]]
    assert len(set(shown)) == len(rows) + 2 and set(shown) | {"waiting"} == table.marks.keys()
    assert len({character for character, _, _ in table.marks.values()}) == len(table.marks)


@pytest.mark.parametrize(
    ("for_s", "said"), [(0.99, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (7300, "2 h")]
)
def test_times_are_rounded(show, for_s: float, said: str) -> None:
    assert show(Scripted(status("idle", for_s=for_s))).state["rows"][0][4] == said


def test_it_names_itself_the_same_on_every_run(show) -> None:
    table = show(Scripted(status(IN_OP, "idle")))
    assert repr(table) == "<status of 2 ranks>" and table._repr_mimebundle_()[0]["text/plain"] == repr(table)
    assert repr(show(Scripted(status("idle"), size=1))) == "<status of 1 rank>"
    assert table.title == "What the 2 ranks do"


def test_its_still_has_nothing_that_differs_from_run_to_run(show) -> None:
    says = "rank 0 waits"
    stills = [
        show(Scripted(status(IN_OP, "computing", for_s=for_s, waits={0: "rank 1"}, says=says)))._repr_mimebundle_()[0]
        for for_s in (3.2, 70.0)
    ]
    svg = stills[0]["image/svg+xml"]
    assert svg == stills[1]["image/svg+xml"] and "MB" not in svg and "3 s" not in svg
    waits = "rank 0: in all_reduce #7 of shape [4] on world (train.py:41), waits for rank 1"
    for told in ("What the 2 ranks do", waits, says):
        assert told in svg


def test_nothing_is_loaded_from_elsewhere() -> None:
    for name in ("widget.js", "widget.css"):
        text = (widget.FOLDER / name).read_text(encoding="utf-8")
        assert not re.search(r"https?:|//cdn|\bimport\b|@import|url\(|innerHTML", text)
        assert len(text.splitlines()) < 120


def test_real_ranks_are_seen_at_work(ranks2, show) -> None:
    def meet_late() -> None:
        import time

        import torch
        import torch.distributed as dist

        if dist.get_rank() == 1:
            time.sleep(2)
        dist.all_reduce(torch.ones(4))

    table = show(ranks2, every_s=0.1)
    sent = Sent(table)
    ranks2.run(meet_late)
    late = sent.until(lambda state: [row[3][:9] for row in state["rows"]] == ["in all_re", "computing"])
    assert late["rows"][0][2].endswith(" MB") and "all_reduce" in late["rows"][0][3] and "[4]" in late["rows"][0][3]
    sent.until(lambda state: state["rows"] and state["rows"][0][4] in ("1 s", "2 s"))
    json.dumps(sent.states, allow_nan=False)


def test_a_rank_stopped_by_a_signal_is_seen(ranks2, show) -> None:
    sent, pid = Sent(show(ranks2, every_s=0.1)), ranks2.status()[1].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        state = sent.until(lambda state: state["rows"] and state["rows"][1][0] == "stopped")
        assert state["says"] == "Rank 1 is stopped by a signal: SIGCONT lets it go on."
    finally:
        sent.states.clear()
        os.kill(pid, signal.SIGCONT)
    sent.until(lambda state: state["says"] == "Idle: no call runs.")
