"""What a person reads in a widget stands in its words.py: its scripts hold no sentence, and ask for what is there."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

import lab_utils.widgets

WIDGETS = Path(lab_utils.widgets.__file__).parent
WITH_WORDS = (
    "collective_steps", "gradient_flow", "live_curve", "ranks_status", "schedule_explorer", "shard_map",
    "timeline_view",
)  # fmt: skip
SCRIPTS = [path for name in ("kit", *WITH_WORDS) for path in sorted((WIDGETS / name).rglob("*.js"))]

CODE = re.compile(
    r"""//[^\n]* | /\*.*?\*/  # comments
    | (?<=[(,=:?&|]) \s* /(?:\\.|\[(?:\\.|[^]])*\]|[^/\\\n])+/  # a regular expression
    | (?P<quote>["']) (?P<text>(?:\\.|(?!(?P=quote)).)*) (?P=quote) | (?P<mark>[`{}])""",
    re.VERBOSE | re.DOTALL,
)
TEMPLATE = re.compile(r"(?P<text>(?:\\.|\$(?!\{)|[^`$\\])*)(?P<end>`|\$\{)", re.DOTALL)
VALUE = "{}"
WORD = r"[^\W\d_]{2,}"
SENTENCE = re.compile(rf"{WORD}[,.:;]? +(?:{WORD}|\d|\{{\}})|(?:\d|\{{\}})[,.:;]? +{WORD}|^[A-Z][a-z]{{2,}}$")
# Names of events, fonts, classes and keys.
NO_SENTENCE = re.compile(r"^change:|\{\}px|^lab-|^(Backspace|Delete|End|Enter|Escape|Home|Tab)$")
CLASS = re.compile(r"\.((?:lab-[a-z]+-)?([a-z][\w-]*))")


def literals(script: str) -> list[str]:
    """Return the script's strings and templates, VALUE for each ${...} of a template; without those of errors."""
    found: list[str] = []
    _read_code(script, 0, found)
    return found


def _read_code(script: str, at: int, found: list[str]) -> int:
    """Read up to the brace that closes what is open at this place; return the place after it."""
    depth = 0
    while token := CODE.search(script, at):
        at, mark = token.end(), token["mark"]
        heard = [] if script.endswith("new Error(", 0, token.start()) else found
        if token["quote"]:
            heard.append(token["text"])
        elif mark == "`":
            at = _read_template(script, at, heard)
        elif mark:
            depth += 1 if mark == "{" else -1
            if depth < 0:
                break
    return at


def _read_template(script: str, at: int, found: list[str]) -> int:
    text = ""
    while part := TEMPLATE.match(script, at):
        text, at = text + part["text"], part.end()
        if part["end"] == "`":
            break
        text, at = text + VALUE, _read_code(script, at, found)
    found.append(text)
    return at


def sentences(script: str, classes: frozenset[str] = frozenset()) -> list[str]:
    """Return the literals with a word beside another or beside a value, or one capital word; classes are no words."""
    read = [text for text in literals(script) if SENTENCE.search(text) and not NO_SENTENCE.search(text)]
    return [text for text in read if not classes.issuperset(text.split())]


def classes_of(folder: Path) -> frozenset[str]:
    styles = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.css"))
    return frozenset(name for names in CLASS.findall(styles) for name in names)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.relative_to(WIDGETS).as_posix())
def test_a_script_holds_no_sentence(path: Path) -> None:
    assert sentences(path.read_text(encoding="utf-8"), classes_of(WIDGETS)) == []


@pytest.mark.parametrize("name", WITH_WORDS)
def test_a_script_asks_for_words_that_are_there_and_leaves_none(name: str) -> None:
    script = "".join(path.read_text(encoding="utf-8") for path in SCRIPTS if path.is_relative_to(WIDGETS / name))
    words = import_module(f"lab_utils.widgets.{name}.words").SCRIPT
    asked = set(re.findall(r"\bWORDS\.(\w+)", script))
    begun = tuple(re.findall(r"\bWORDS\[`(\w+)\$\{", script))
    assert asked <= words.keys()
    assert [word for word in words if word not in asked and not (begun and word.startswith(begun))] == []


@pytest.mark.parametrize("name", WITH_WORDS)
def test_a_script_has_a_value_for_each_placeholder(name: str) -> None:
    """Where it lists them: an object that is passed on whole cannot be read from the script."""
    script = "".join(path.read_text(encoding="utf-8") for path in SCRIPTS if path.is_relative_to(WIDGETS / name))
    words = import_module(f"lab_utils.widgets.{name}.words").SCRIPT
    for word, values in re.findall(r"fill\(WORDS\.(\w+), \{([^{}]*)\}\)", script):
        if "..." not in values:
            given = {value.partition(":")[0].strip() for value in values.split(",")}
            assert set(re.findall(r"\{(\w+)\}", words[word])) <= given, word


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ('add(root, "p", "", "Nothing is left");', ["Nothing is left"]),
        ("say('it is: late')", ["it is: late"]),
        ("write(`rank ${rank}`, 12)", ["rank {}"]),
        ("`${count} bytes`", ["{} bytes"]),
        ('add(row, "button", "Undo")', ["Undo"]),
        ('`${n} ${n === 1 ? "is idle" : `are ${n} idle`}`', ["is idle", "are {} idle"]),
        ('x.replace(/"/g, ""), "no word"', ["no word"]),
        ('const f = () => { return { title: "Zoom in" }; }', ["Zoom in"]),
        ("// it is late\n/* so are\nwe */ say(WORDS.late)", []),
        ('throw new Error(`no value for ${name}`), new Error("it is late")', []),
        ('add(root, "div", "now quiet")', []),
        ('event.key === "Enter"', []),
        ('path(`M${x} ${y}H${width}V 3`, "M0 0L8 8")', []),
        ("c.font = `${weight} ${size}px ${font}`", []),
        ('model.on("change:state change:title", draw)', []),
    ],
)
def test_a_sentence_in_a_script_is_found(script: str, found: list[str]) -> None:
    assert sentences(script, frozenset({"now", "quiet"})) == found
