"""Positions as text: what is saved is loaded, and a text that is none is explained by line and word."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_utils.schedule import LEVELS, Costs
from lab_utils.schedule.schedules import BY_NAME
from lab_utils.widgets import ScheduleExplorer
from lab_utils.widgets.schedule_explorer.by_hand.hand import Hand
from lab_utils.widgets.schedule_explorer.by_hand.position import loaded, written
from lab_utils.widgets.schedule_explorer.by_hand.score import settings_of
from lab_utils.widgets.schedule_explorer.choice import Setting

numbers = st.floats(0.001, 100)


@st.composite
def instances(draw: st.DrawFn) -> tuple[str, dict]:
    """A level's name and its settings, or "" and some of one's own."""
    level = draw(st.sampled_from(["", *LEVELS]))
    if level:
        return level, settings_of(LEVELS[level])
    sizes = {"p": draw(st.integers(1, 3)), "m": draw(st.integers(1, 4)), "v": draw(st.integers(1, 3))}
    costs = {name: draw(numbers) for name in ("forward", "backward_input", "backward_weight")}
    others = {"communication": draw(st.just(0.0) | numbers), "limit": draw(st.none() | st.floats(0.5, 4))}
    return "", {**sizes, **costs, **others, "stage_layout": draw(st.sampled_from(["line", "v", "loop"]))}


def hand_of(level: str, chosen: dict) -> Hand:
    costs = Costs(*(chosen[name] for name in ("forward", "backward_input", "backward_weight", "communication")))
    setting = Setting(chosen["p"], chosen["m"], chosen.get("v", 2), costs, chosen["limit"])
    return Hand(setting, chosen["stage_layout"], bool(level) and LEVELS[level].whole)


@given(st.data(), instances())
@settings(deadline=None, max_examples=60)
def test_what_is_saved_is_loaded(data: st.DataObject, instance: tuple[str, dict]) -> None:
    level, chosen = instance
    hand = hand_of(level, chosen)
    for _ in range(data.draw(st.integers(0, 25))):
        legal = [(rank, word) for rank, word, why in hand.offers() if not why]
        if not legal:
            break
        assert hand.follow([*hand.moves, data.draw(st.sampled_from(legal))]) == ""
    text = written(hand.draft, chosen, level)
    found = loaded(text)
    assert found.level == level
    assert {name: chosen[name] for name in found.settings} == found.settings
    again = hand_of(level, chosen)
    assert again.follow(found.moves) == "" and again.draft.orders == hand.draft.orders
    assert written(again.draft, found.settings | {"v": chosen.get("v", 2)}, found.level) == text
    assert loaded("\n" + text.replace("\n", " \n\n")) == found  # blanks do not count


@pytest.mark.parametrize("name", [name for name in BY_NAME if name != "dualpipe"])
def test_every_schedule_that_can_be_placed_is_saved(name: str) -> None:
    explorer = ScheduleExplorer(choice=name, p=3, m=4, v=2, forward=1.1, communication=0.25)
    text = explorer.position
    again = ScheduleExplorer(position=text)
    assert (again.choice, again.says, again.position) == ("hand", "", text)
    assert again.schedule.orders == explorer.schedule.orders and name in again.built == explorer.built
    assert again.timeline.makespan_s == explorer.timeline.makespan_s
    explorer.limit = 0.5  # which it does not fit, so nobody could place it
    assert explorer.position == text


def test_a_position_is_read_by_people() -> None:
    explorer = ScheduleExplorer(choice="hand", p=2, m=2, limit=1.5)
    explorer.place(0, "F0"), explorer.place(1, "F0"), explorer.place(1, "B0")
    assert explorer.position == (
        "ranks=2 micro-batches=2 stages=line F=1 B=1 W=1 message=0 limit=1.5\nrank 0: F0\nrank 1: F0 B0"
    )
    explorer.level = "interleaved"
    explorer.place(0, "0F0"), explorer.place(1, "1F0"), explorer.place(0, "2F0")
    assert explorer.position == "level interleaved\nrank 0: 0F0 2F0\nrank 1: 1F0"
    with pytest.raises(ValueError, match="DualPipe has its stages elsewhere: by hand there is one stage per rank"):
        _ = ScheduleExplorer(choice="dualpipe", p=4).position


FREE = "ranks=2 micro-batches=2 stages=line F=1 B=1 W=1 message=0 limit=1"
WRONG = {
    "": "line 1: a position begins with the word 'level' and a level's name, or with 'ranks=4' and other settings",
    "level gpip": "line 1, word 2, 'gpip': after 'level' comes the name of one: did you mean 'gpipe'?",
    "level": "line 1, word 1, 'level': after 'level' comes the name of one: there are gpipe, memory, one_f_one_b, "
    "interleaved, two_parts, zb_h1, v, messages",
    "level gpipe 2": "line 1, word 3, '2': a line ends with the level's name, and the ranks' ops come below",
    "rank 0: F0": "line 1, word 1, 'rank': neither 'level' nor a setting: did you mean 'ranks' or 'stages-per-rank'?",
    "ranks=0": "line 1, word 1, 'ranks=0': between 1 and 32 can be shown",
    "ranks=2.5": "line 1, word 1, 'ranks=2.5': a whole number is needed",
    "ranks=2 ranks=3": "line 1, word 2, 'ranks=3': ranks is set twice",
    "ranks=2 micro-batches=2 stages=w": "line 1, word 3, 'stages=w': line, v or loop is needed",
    "ranks=2 F=0": "line 1, word 2, 'F=0': it must be a number above 0",
    "ranks=2 message=nan": "line 1, word 2, 'message=nan': it must be a number of 0 or more",
    "ranks=2 limit=much": "line 1, word 2, 'limit=much': a number or none is needed",
    "ranks=2": "line 1: the word 'micro-batches=' and its value are missing",
    FREE.replace("line", "loop"): "line 1: the word 'stages-per-rank=' and its value are missing",
    FREE.replace("line", "line stages-per-rank=5"): "line 1, word 4, 'stages-per-rank=5': a line has one stage per "
    "rank and a V two: only stages=loop leaves it open",
    f"stages-per-rank=2 {FREE.replace('line', 'v')}": "line 1, word 1, 'stages-per-rank=2': a line has one stage per "
    "rank and a V two: only stages=loop leaves it open",
    f"{FREE}\nrank 1: F0": "line 2, word 2, '1:': the line of rank 0 begins with 'rank 0:'",
    f"{FREE}\nF0": "line 2, word 1, 'F0': the line of rank 0 begins with 'rank 0:'",
    f"{FREE}\nrank 0: F0": "line 3: the words 'rank 1:' and that rank's ops are missing",
    f"{FREE}\nrank 0:\n\nrank 1:\nrank 2:": "line 5, word 1, 'rank': there is a line for each rank, and ranks=2",
    f"{FREE}\nrank 0: Fx\nrank 1:": "line 2, word 3: 'Fx' is no op: write F0, B0, W0 or BW0, or 2F0 with a stage",
    f"{FREE}\nrank 0: F0 F9876543210\nrank 1:": "line 2, word 4: 'F9876543210' has a number of 2147483647 or more",
    f"{FREE}\nrank 0: F0,F1\nrank 1:": "line 2, word 3, 'F0,F1': a blank is needed between two ops",
    f"{FREE}\nrank 0: F2\nrank 1:": "line 2, word 3, 'F2': F2 of stage 0 on rank 0: there are 2 ranks, 2 stages and "
    "2 micro-batches, counted from 0",
    f"{FREE}\nrank 0: 1F0\nrank 1:": "line 2, word 3, '1F0': rank 0 holds stage 0, and not stage 1",
    f"{FREE}\nrank 0: F0 F1\nrank 1: F0": "line 2, word 4, 'F1': F1 of stage 0 would make 2 micro-batches whose "
    "activations rank 0 holds, and 1 is the limit",
    # not the rank that waits for it, which stands first
    f"{FREE}\nrank 0: F0 BW0\nrank 1: F0 F0 BW0": "line 3, word 4, 'F0': F0 of stage 1 has been run",
    f"{FREE}\nrank 0: F0 BW0\nrank 1: F1 BW0": "line 3, word 3, 'F1': F1 of stage 1 needs F1 of stage 0, which no "
    "rank has run yet",
    # a circle: the first rank
    f"{FREE}\nrank 0: F0 BW0 F1\nrank 1: F1 F0 BW0": "line 2, word 4, 'BW0': BW0 of stage 0 needs B0 or BW0 of "
    "stage 1, which no rank has run yet",
    "level memory\nrank 0: F0 B0\nrank 1:\nrank 2:": "line 2, word 4, 'B0': B0 of stage 0 is half a backward, and in "
    "this level a backward is one op, BW: later levels take it apart",
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_a_text_that_is_no_position_is_explained(text: str) -> None:
    explorer = ScheduleExplorer(choice="zb_h1", p=3, m=4)
    drawn, key = explorer._drawn, explorer._stands()
    assert explorer.load(text) == explorer.says == WRONG[text]
    assert explorer._drawn is drawn and explorer._stands() == key
    with pytest.raises(ValueError) as raised:
        ScheduleExplorer(position=text, level="zb_h1")
    assert str(raised.value) == WRONG[text]
    assert explorer.load("level gpipe\nrank 0: F0\nrank 1:\nrank 2:") == explorer.says == ""
    assert (explorer.level, explorer.moves) == ("gpipe", [[0, "F0"]])
