"""The scripts and style sheets of the widgets with a card: of which files they are made, and what they hold."""

from __future__ import annotations

import gc
import json
import re
import weakref
from collections import Counter
from collections.abc import Callable

import anywidget
import pytest

from lab_utils.widgets import LiveCurve, ScheduleExplorer, TimelineView
from lab_utils.widgets.collective_steps.widget import CollectiveSteps
from lab_utils.widgets.gradient_flow.widget import GradientFlow
from lab_utils.widgets.kit import assets
from lab_utils.widgets.kit.background import weakly
from lab_utils.widgets.ranks_status.widget import RanksStatus
from lab_utils.widgets.shard_map.widget import ShardMap

WIDGETS = [CollectiveSteps, GradientFlow, LiveCurve, RanksStatus, ShardMap]
FROM_ELSEWHERE = r"https?:|//cdn|^\s*import\b|@import|url\((?!#)|innerHTML|eval\("


@pytest.mark.parametrize("widget", WIDGETS)
def test_a_script_is_one_module_that_loads_nothing(widget: type) -> None:
    script = widget._esm
    assert re.findall(r"^export .*", script, re.MULTILINE) == ["export default { render };"]
    functions = re.findall(r"^(?:function|class) (\w+)", script, re.MULTILINE)
    assert len(set(functions)) == len(functions)
    for text in (script, widget._css):
        assert not re.search(FROM_ELSEWHERE, text.replace("http://www.w3.org/2000/svg", ""), re.MULTILINE)


@pytest.mark.parametrize("widget", WIDGETS)
def test_a_script_has_the_words_that_it_shows(widget: type) -> None:
    words = re.search(r"^const WORDS = (\{.*?^\});", widget._esm, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"\bWORDS\.(\w+)", widget._esm)) <= (set(json.loads(words[1])) if words else set())


def test_what_is_shared_is_shared() -> None:
    for path in [*assets.FOLDER.rglob("*.js"), *assets.FOLDER.rglob("*.css")]:
        text = path.read_text(encoding="utf-8")
        widgets = [*WIDGETS, ScheduleExplorer, TimelineView]
        users = [widget for widget in widgets if text in (widget._css if path.suffix == ".css" else widget._esm)]
        assert len(users) > 1, f"{path.name} is part of {users}"


@pytest.mark.parametrize("widget", [CollectiveSteps, GradientFlow, ScheduleExplorer, ShardMap, TimelineView])
def test_a_widget_that_takes_keys_tells_them(widget: type) -> None:
    catalogue = re.search(r"^const WORDS = (\{.*?^\});", widget._esm, re.MULTILINE | re.DOTALL)[1]
    words, script = json.loads(catalogue), widget._esm.replace(catalogue, "")
    told = {key for keys in words["key_help"] for key in keys.split()}
    names = {
        "←": "ArrowLeft", "→": "ArrowRight", "↑": "ArrowUp", "↓": "ArrowDown", "−": "-", "Space": " ", "Esc": "Escape",
        "PgUp": "PageUp", "PgDn": "PageDown",
    }  # fmt: skip
    asked = {names.get(key, key) for key in told}
    taken = {key for key in asked if re.search(rf'(?:^|[{{\s,"]){re.escape(key)}"?: ', script, re.MULTILINE)}
    assert asked - taken - {"Backspace"} == set() and "addKeyHelp(" in script


def test_a_function_stands_in_one_file() -> None:
    """What two widgets need alike is part of the kit; each has its own `render`."""
    texts = [path.read_text(encoding="utf-8") for path in assets.FOLDER.parent.rglob("*.js")]
    counts = Counter(name for text in texts for name in re.findall(r"^(?:function|class) (\w+)", text, re.MULTILINE))
    assert counts["add"] == 1
    assert [name for name, count in counts.items() if count > 1] == ["render"]


@pytest.mark.parametrize("make", [lambda: LiveCurve(steps=3), ScheduleExplorer], ids=["curve", "explorer"])
def test_a_closed_widget_is_freed_at_once(make: Callable[[], anywidget.AnyWidget]) -> None:
    """Without a garbage collection: its parts do not hold it."""
    gc.disable()
    try:
        widget = make()
        seen = weakref.ref(widget)
        widget.close()
        del widget
        assert seen() is None
    finally:
        gc.enable()


def test_a_part_calls_its_widget_while_there_is_one() -> None:
    told: list[int] = []

    class Whole:
        def tell(self, number: int) -> None:
            told.append(number)

    whole = Whole()
    tell = weakly(whole.tell)
    tell(1)
    del whole
    tell(2)
    assert told == [1]
