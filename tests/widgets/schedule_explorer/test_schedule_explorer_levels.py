"""Levels in ScheduleExplorer: what they set, refuse and say, when they are done, and how one leaves them."""

from __future__ import annotations

import re

import pytest
import traitlets

from lab_utils.ranks import Ranks
from lab_utils.schedule import LEVELS
from lab_utils.widgets import ScheduleExplorer
from lab_utils.widgets.schedule_explorer import words


def solve(explorer: ScheduleExplorer, name: str) -> None:
    """Place the level's solution, rank by rank in turns, as a person would: each op by its word."""
    explorer.level = name
    left = [[*order.split()] for order in LEVELS[name].solution.orders]
    while any(left):
        before = sum(map(len, left))
        for rank, order in enumerate(left):
            while order and not explorer.place(rank, order[0]):
                order.pop(0)
        assert sum(map(len, left)) < before


def test_all_levels_are_solved_one_after_the_other() -> None:
    explorer = ScheduleExplorer()
    for number, (name, level) in enumerate(LEVELS.items(), start=1):
        explorer.level = name
        assert explorer._drawn["level"]["next"] == "" and name not in explorer.solved
        solve(explorer, name)
        assert explorer.solved == list(LEVELS)[:number] and explorer.schedule.orders == level.solution.orders
        assert explorer.built == ((level.solved_by,) if level.solved_by else ())
        following = explorer._drawn["level"]["next"]
        assert following == (list(LEVELS)[number] if number < len(LEVELS) else "")
        title = words.TITLES.get(level.solved_by)
        built = f"You have built {title}." if title else "No named schedule has this order."
        last = f"Next is level {number + 1}, {words.LEVEL_TITLES[following]}." if following else "It was the last one."
        assert explorer._drawn["remark"] == (
            f"All ops are placed: {level.par:g}. {built} Level {number} is done. "
            f"Par is {level.par:g}, and no order is shorter. {last}"
        )
        assert explorer._drawn["par"] == level.par
    assert explorer._about["levels"].keys() == words.GOALS.keys() == words.LEVEL_TITLES.keys() == LEVELS.keys()


def test_a_level_sets_the_instance_and_says_its_goal_in_picture_and_text() -> None:
    explorer = ScheduleExplorer(level="memory")
    assert (explorer.choice, explorer.p, explorer.m, explorer.limit, explorer.moves) == ("hand", 3, 4, 2.0, [])
    goal = (
        "Level 2 of 8, a memory limit. Hold at most 2 of 4 micro-batches per rank, and end by 21; GPipe holds all and "
        "takes 18."
    )
    left = "24 of F and BW are left to place. Par is 21, and no order is shorter."
    assert explorer._drawn["level"]["goal"] == goal and explorer._drawn["remark"] == left
    assert repr(explorer).splitlines()[-2:] == [goal, left] and explorer._drawn["words"] == repr(explorer)
    assert all(f">{sentence}</text>" in explorer.to_svg() for sentence in (goal, left))
    assert {offer[1] for offer in explorer._drawn["offers"]} == {"F0", "BW0"}
    for name, level in LEVELS.items():
        explorer.level = name
        goal = explorer._drawn["level"]["goal"]
        assert goal.startswith(f"Level {list(LEVELS).index(name) + 1} of 8, ") and f"end by {level.par:g}" in goal
        assert level.limit is None or f"at most {level.limit:g} " in goal
        assert len(re.findall(r"\.(?: |$)", goal)) == 2  # its title, and one sentence
        assert level.costs.comm == explorer.communication and explorer.setting.costs == level.costs


def test_an_illegal_move_is_explained() -> None:
    explorer = ScheduleExplorer(level="memory")
    explorer.place(0, "F0"), explorer.place(0, "F1")
    for word, said in {
        "F2": "F2 of stage 0 would make 3 micro-batches whose activations rank 0 holds, and 2 is the limit",
        "B0": "B0 of stage 0 is half a backward, and in this level a backward is one op, BW",
        "W0": "W0 of stage 0 is half a backward",
        "BW0": "BW0 of stage 0 needs B0 or BW0 of stage 1, which no rank has run yet",
    }.items():
        assert explorer.place(0, word).startswith(said) and len(explorer.moves) == 2
    explorer.level = "two_parts"
    explorer.place(0, "F0"), explorer.place(1, "F0")
    assert explorer.place(1, "B0") == explorer.place(0, "B0") == explorer.place(1, "W0") == ""


def test_an_order_over_par_is_no_solution_until_it_is_mended() -> None:
    explorer = ScheduleExplorer(level="gpipe")
    for number in range(4):
        for rank in (0, 1, 2):
            explorer.place(rank, f"F{number}")
        for rank in (2, 1, 0):
            explorer.place(rank, f"BW{number}")
    assert explorer.timeline.makespan_s == 36 == LEVELS["gpipe"].before
    assert explorer._drawn["remark"] == (
        "All ops are placed: 36. No named schedule has this order. Par is 18, and no order is shorter. You are 18 over "
        "par: undo, and see what the pauses wait for."
    )
    assert (explorer.solved, explorer._drawn["level"]["next"]) == ([], "")
    explorer.moves = []
    solve(explorer, "gpipe")
    assert explorer.solved == ["gpipe"]
    explorer.undo()
    assert explorer._drawn["level"]["next"] == "memory" and "Next is" not in explorer._drawn["remark"]


def test_another_schedule_solves_every_level_where_it_fits() -> None:
    explorer = ScheduleExplorer(level="gpipe")
    explorer.load("level gpipe\n" + "\n".join(
        f"rank {rank}: {order}" for rank, order in enumerate(("F0 F1 F2 BW0 F3 BW1 BW2 BW3",
                                                              "F0 F1 BW0 F2 BW1 F3 BW2 BW3",
                                                              "F0 BW0 F1 BW1 F2 BW2 F3 BW3"))
    ))  # fmt: skip
    assert explorer.solved == ["gpipe"] and explorer.built == ("one_f_one_b",)
    assert "You have built 1F1B. Level 1 is done." in explorer._drawn["remark"]


def test_how_one_leaves_a_level_and_comes_back() -> None:
    explorer = ScheduleExplorer(level="gpipe")
    explorer.place(0, "F0")
    explorer.level = "zb_h1"
    assert explorer.moves == []
    explorer.place(0, "F0"), explorer.place(1, "F0")
    explorer.level = "gpipe"
    assert (explorer.moves, explorer.says, explorer.limit) == ([[0, "F0"]], "", None)
    explorer.choice = "one_f_one_b"  # to look at
    assert explorer.level == "gpipe" and explorer._drawn["level"]["goal"] and not explorer.solved
    assert explorer.position.startswith("ranks=3 ")
    explorer.choice = "hand"
    assert (explorer.level, explorer.moves) == ("gpipe", [[0, "F0"]])
    explorer.m = 5
    assert (explorer.level, explorer.moves) == ("", [[0, "F0"]]) and "level" not in explorer._drawn
    assert explorer.place(1, "F0") == explorer.place(2, "F0") == explorer.place(2, "B0") == ""  # B alone is free again
    explorer.level = "zb_h1"
    assert (explorer.m, explorer.moves) == (4, [[0, "F0"], [1, "F0"]])
    explorer.level = ""
    assert (explorer.choice, explorer.p, explorer.m, explorer.limit) == ("hand", 3, 4, 3.0)
    with pytest.raises(traitlets.TraitError):
        explorer.level = "ninth"


def test_an_order_taken_apart_solves_no_level() -> None:
    explorer = ScheduleExplorer(level="gpipe", choice="gpipe")
    explorer.choice = "gpipe"
    explorer.by_hand()
    assert (explorer.level, explorer.solved, explorer._drawn["left"]) == ("", [], 0)
    solve(explorer, "gpipe")
    explorer.by_hand(before=1)  # of one's own order
    assert explorer.level == "gpipe" and 0 < len(explorer.moves) < 24


def test_a_browser_asks_for_levels_and_loads() -> None:
    explorer = ScheduleExplorer()
    explorer.set_state({"level": "memory"})
    assert (explorer.level, explorer.m, explorer._drawn["position"]) == (
        "memory", 4, "level memory\nrank 0:\nrank 1:\nrank 2:",
    )  # fmt: skip
    explorer.set_state({"_load": "level memory\nrank 0: F0 F1 F2\nrank 1:\nrank 2:"})
    assert explorer.says.startswith("line 2, word 5, 'F2': ") and explorer.moves == []
    for _ in range(2):  # the same text again, after other moves
        explorer.set_state({"_load": "level memory\nrank 0: F0 F1\nrank 1:\nrank 2:"})
        assert (explorer.says, explorer.moves) == ("", [[0, "F0"], [0, "F1"]])
        explorer.set_state({"moves": []})
    explorer.set_state({"level": ""})
    assert explorer.level == "" and explorer.choice == "hand"


def test_recognition_outside_of_levels() -> None:
    explorer = ScheduleExplorer(choice="zb_v", p=2, m=3)
    explorer.by_hand()
    assert "All ops are placed: 9.5. You have built ZB-V. Par is" in explorer._drawn["remark"]
    explorer.undo()
    assert explorer.built == () and "You have built" not in explorer._drawn["remark"]
    explorer = ScheduleExplorer(choice="own", text="F0 BW0")
    assert explorer._drawn["remark"].startswith("You have built GPipe, which for these sizes is 1F1B too. No order")


def test_a_solved_level_runs_on_ranks_and_equals_serial(ranks2: Ranks) -> None:
    explorer = ScheduleExplorer(ranks2)
    solve(explorer, "two_parts")
    assert explorer.run() == "" and explorer.result.parity.equal and explorer.result.same_order
    assert explorer.result.peaks == explorer.schedule.peak_activations
    explorer.level = "gpipe"
    assert "it cannot run yet" in explorer.run()
