"""A position as text: the level, or the setting, in the first line; then a line of ops per rank.

`level memory` or `ranks=3 micro-batches=4 stages=line F=1 B=1 W=1 message=0 limit=2`,
then `rank 0: F0 F1 BW0` and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import traitlets

from lab_utils.schedule import LEVELS, Draft
from lab_utils.schedule.by_hand import awaited, too_early
from lab_utils.schedule.ops import KINDS, Step, read
from lab_utils.text import meant
from lab_utils.widgets.schedule_explorer import words
from lab_utils.widgets.schedule_explorer.by_hand.hand import Hand, Move, moves_of
from lab_utils.widgets.schedule_explorer.by_hand.score import settings_of
from lab_utils.widgets.schedule_explorer.picture_data import Drawn
from lab_utils.widgets.schedule_explorer.settings import Settings

LEVEL, RANK, NONE = "level", "rank", "none"
Line = tuple[int, list[str]]  # number, from 1, and words


class Place(NamedTuple):
    """Where an op stands: line and word, from 1, as text, and on which rank."""

    line: int
    word: int
    text: str
    rank: int


Placed = tuple[Place, Step]


def _limit(text: str) -> float | None:
    return None if text == NONE else float(text)


def _layout(text: str) -> str:
    if text not in words.STAGE_LAYOUTS:
        raise ValueError(text)
    return text


# how the text names a setting, the setting's name, and how its value is read
FIELDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "ranks": ("p", int), "micro-batches": ("m", int),
    "stages": ("stage_layout", _layout), "stages-per-rank": ("v", int),
    "F": ("forward", float), "B": ("backward_input", float), "W": ("backward_weight", float),
    "message": ("communication", float), "limit": ("limit", _limit),
}  # fmt: skip
ONLY_IN_A_LOOP = "stages-per-rank"


class Position(NamedTuple):
    """What a text says: the level's name, "" for none, the settings, and the moves in an order that is legal."""

    level: str
    settings: dict[str, Any]
    moves: list[Move]


def written(draft: Draft, settings: dict[str, Any], level: str) -> str:
    """Return the order as text; settings: a value for each of FIELDS's names."""
    first = f"{LEVEL} {level}" if level else " ".join(_fields(settings))
    staged = draft.stages != draft.ranks
    lines = [first]
    for rank, steps in enumerate(draft.steps):
        ops = (f"{stage if staged else ''}{KINDS[kind]}{microbatch}" for kind, stage, microbatch in steps)
        lines.append(" ".join([RANK, f"{rank}:", *ops]))
    return "\n".join(lines)


def _fields(settings: dict[str, Any]) -> Iterator[str]:
    for field, (name, _) in FIELDS.items():
        if field != ONLY_IN_A_LOOP or settings["stage_layout"] == "loop":
            value = settings[name]
            text = NONE if value is None else str(value).removesuffix(".0")
            yield f"{field}={text}"


def loaded(text: str) -> Position:
    """Return the position that the text describes. ValueError, in a sentence with line and word, if it is none."""
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines:
        raise ValueError(words.NO_POSITION)
    level, settings = _read_first(*lines[0])
    orders = list(_read_ranks(lines, settings["p"]))
    set_up = Settings(**settings)
    hand = Hand(set_up.setting, set_up.stage_layout, bool(level) and LEVELS[level].whole)
    reached = hand.follow_ranks([[step for _, step in order] for order in orders])
    if stuck := [order[at:] for order, at in zip(orders, reached, strict=True) if order[at:]]:
        place, step = _cause(hand, stuck)
        raise _wrong(*place[:3], hand.why_not(place.rank, step))
    start = Drawn.of(hand.draft, set_up.setting).start
    return Position(level, settings, moves_of(hand.draft, start))


def _wrong(line: int, word: int, text: str, why: str) -> ValueError:
    return ValueError(words.AT_WORD.format(line=line, word=word, text=repr(text), why=why))


def _read_first(line: int, row: list[str]) -> tuple[str, dict[str, Any]]:
    """Return the level's name, or "", and the settings."""
    if row[0] != LEVEL:
        return "", _read_settings(line, row)
    name = row[1] if len(row) > 1 else ""
    if name not in LEVELS:
        raise _wrong(line, len(row[:2]), row[:2][-1], words.NO_LEVEL_NAMED.format(meant=meant(name, LEVELS)))
    if len(row) > 2:
        raise _wrong(line, 3, row[2], words.ENDS_WITH_LEVEL)
    return name, settings_of(LEVELS[name])


def _read_settings(line: int, row: list[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for word, text in enumerate(row, start=1):
        field, _, value = text.partition("=")
        if field not in FIELDS:
            raise _wrong(line, word, text, words.NO_FIELD.format(meant=meant(field, FIELDS)))
        name, read_value = FIELDS[field]
        if name in settings:
            raise _wrong(line, word, text, words.FIELD_TWICE.format(field=field))
        try:
            settings[name] = read_value(value)
            Settings(**{name: settings[name]})
        except ValueError:
            raise _wrong(line, word, text, words.WANTED.get(name, words.A_NUMBER)) from None
        except traitlets.TraitError as wrong:
            raise _wrong(line, word, text, str(wrong).partition(": ")[2]) from None
    for field, (name, _) in FIELDS.items():
        if name not in settings and (field != ONLY_IN_A_LOOP or settings["stage_layout"] == "loop"):
            raise ValueError(words.FIELD_MISSING.format(line=line, field=field))
    if settings["stage_layout"] != "loop" and FIELDS[ONLY_IN_A_LOOP][0] in settings:
        word = next(word for word, text in enumerate(row, start=1) if text.startswith(f"{ONLY_IN_A_LOOP}="))
        raise _wrong(line, word, row[word - 1], words.ONLY_WITH_LOOP)
    return settings


def _read_ranks(lines: list[Line], ranks: int) -> Iterator[list[Placed]]:
    """Yield each rank's ops with their places in the text."""
    for rank, (line, row) in enumerate(lines[1:]):
        if rank == ranks:
            raise _wrong(line, 1, row[0], words.TOO_MANY_LINES.format(ranks=ranks))
        begins = [RANK, f"{rank}:"]
        if row[:2] != begins:
            word = 2 if row[0] == RANK and len(row) > 1 else 1
            raise _wrong(line, word, row[word - 1], words.RANK_BEGINS.format(rank=rank))
        yield [_read_op(Place(line, word, text, rank)) for word, text in enumerate(row[2:], start=3)]
    if len(lines) <= ranks:
        raise ValueError(words.LINE_MISSING.format(line=lines[-1][0] + 1, rank=len(lines) - 1))


def _read_op(place: Place) -> Placed:
    try:
        steps = read([*[""] * place.rank, place.text])[place.rank]
    except ValueError as wrong:
        why = str(wrong).partition(": ")[2]  # after its rank and place there
        raise ValueError(words.AT.format(line=place.line, word=place.word, why=why)) from None
    if len(steps) != 1:
        raise _wrong(*place[:3], words.NO_COMMA)
    return place, steps[0]


def _cause(hand: Hand, stuck: list[list[Placed]]) -> Placed:
    """Return the first rank's op that cannot run for another reason than later words; the first of all if none."""
    later = {step for order in stuck for _, step in order}
    for place, step in (order[0] for order in stuck):
        waits = hand.why_not(place.rank, step) == too_early(hand.draft, step)
        if not (waits and later.intersection(awaited(hand.draft, step))):
            return place, step
    return stuck[0][0]
