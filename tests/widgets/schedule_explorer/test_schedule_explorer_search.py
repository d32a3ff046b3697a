"""ScheduleExplorer's searches: beside the kernel for a browser, with progress, stopped by button or interrupt."""

from __future__ import annotations

import asyncio

import pytest

from lab_utils.ranks import Ranks
from lab_utils.widgets import ScheduleExplorer
from lab_utils.widgets.schedule_explorer.words import STOPPED

# No order in a V reaches the bound within this limit, so a search takes all of its time.
SETTING = {"p": 4, "m": 9, "limit": 1.5, "communication": 0.3}


def asked(explorer: ScheduleExplorer, name: str, wanted) -> asyncio.Event:
    """Set once the trait has such a value."""
    seen = asyncio.Event()
    explorer.observe(lambda change: wanted(change["new"]) and seen.set(), name)
    return seen


def test_a_browsers_search_leaves_the_kernel_free_and_the_last_one_counts() -> None:
    async def kernel() -> None:
        explorer = ScheduleExplorer(choice="gpipe", **SETTING)
        parts = []
        explorer.observe(lambda change: parts.append(change["new"].get("part")), "_searching")
        explorer.set_state({"choice": "found_v"})
        assert explorer.schedule.name == "GPipe" and parts == [0.0]
        under_way = asked(explorer, "_searching", lambda now: now.get("part", 0) > 0.1)
        await under_way.wait()  # so other things run meanwhile
        assert "the shortest so far is" in explorer._searching["says"] and explorer.schedule.name == "GPipe"
        done = asked(explorer, "_drawn", lambda drawn: "found" in drawn["title"])
        explorer.set_state({"m": 10})
        await done.wait()
        assert (explorer.schedule.microbatches, explorer._searching, explorer.says) == (10, {}, "")
        assert None in parts[:-1] and explorer.shown.peaks <= (1.5,) * 4  # the first one was let go
        drawn = explorer._drawn
        explorer.set_state({"choice": "gpipe"})
        explorer.set_state({"choice": "found_v"})
        assert explorer._drawn == drawn and explorer._searching == {}  # it is kept

    asyncio.run(asyncio.wait_for(kernel(), 120))


def test_stopping_keeps_the_picture() -> None:
    async def kernel() -> None:
        explorer = ScheduleExplorer(choice="gpipe", **SETTING | {"m": 11})
        explorer.set_state({"choice": "found_v"})
        explorer.set_state({"_stops": 1})
        assert (explorer.says, explorer.schedule.name, explorer._searching) == (STOPPED, "GPipe", {})
        explorer.set_state({"choice": "gpipe"})
        assert explorer.says == ""
        explorer.set_state({"_stops": 2})  # there is nothing to stop
        assert explorer.says == ""

    asyncio.run(asyncio.wait_for(kernel(), 120))


def test_what_cannot_be_is_said_by_a_browsers_search_too() -> None:
    async def kernel() -> None:
        explorer = ScheduleExplorer(choice="gpipe", p=4, m=8)
        explorer.set_state({"limit": 0.5})
        said = asked(explorer, "says", bool)
        explorer.set_state({"choice": "found"})
        await said.wait()
        assert "rank 0 may hold 0.5 micro-batches" in explorer.says and explorer._searching == {}

    asyncio.run(asyncio.wait_for(kernel(), 120))


def test_what_python_sets_is_searched_at_once_and_can_be_interrupted() -> None:
    explorer = ScheduleExplorer(choice="gpipe", **SETTING | {"m": 12})

    def interrupt(change: dict) -> None:
        if change["new"].get("part", 0) > 0.1:
            raise KeyboardInterrupt

    explorer.observe(interrupt, "_searching")
    with pytest.raises(KeyboardInterrupt):
        explorer.choice = "found_v"
    assert (explorer.says, explorer.schedule.name, explorer._searching) == (STOPPED, "GPipe", {})
    explorer.unobserve(interrupt, "_searching")
    explorer.choice = "gpipe"
    assert explorer.says == ""
    explorer.choice = "found_v"
    assert (explorer.says, explorer.schedule.stages) == ("", 8)
    found = explorer.timeline.makespan_s
    bound = float(explorer._drawn["remark"].split("Bound ")[1].split(",")[0])
    assert f"at most {100 * (1 - bound / found):.1f} % could be saved" in explorer._drawn["remark"]


def test_a_browsers_run_on_ranks_begins_once_and_can_be_stopped(ranks2: Ranks) -> None:
    async def kernel() -> None:
        explorer = ScheduleExplorer(ranks2, choice="gpipe", m=4)
        begun = []
        explorer.observe(lambda change: begun.append("0 of 4" in change["new"]["says"][0]), "_ran")
        ended = asked(explorer, "_ran", lambda ran: ran["state"] != "running")
        explorer.set_state({"_runs": 1})
        explorer.set_state({"_runs": 2})  # pressed twice
        explorer.set_state({"_run_stops": 1})
        await ended.wait()
        assert (sum(begun), explorer.result) == (1, None) and explorer._ran["says"] == ["The run was stopped."]
        ended.clear()
        explorer.set_state({"_runs": 3})
        explorer.set_state({"choice": "one_f_one_b"})  # while they run the other
        await ended.wait()
        assert explorer.result.parity.equal and explorer.result.schedule.name == "GPipe"
        assert explorer.run() == "" and explorer.result.schedule.name == "1F1B"

    asyncio.run(asyncio.wait_for(kernel(), 120))
