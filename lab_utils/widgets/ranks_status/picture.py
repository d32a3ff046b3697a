"""Still of RanksStatus: what each rank did when its table was shown, without what differs from run to run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lab_utils.render import palette
from lab_utils.render.kit import MARGIN, Picture, card, element, short, text
from lab_utils.widgets.ranks_status import words

WIDTH, HEAD, ROW, FOOT, SIZE = 720, 74, 24, 34, 11
RANK, MARK, DOING, WAITS = MARGIN, 74, 104, 560  # where the columns begin


def still(title: str, state: Mapping[str, Any], marks: Mapping[str, Sequence[str]]) -> Picture:
    """Draw the table's state: neither memory nor times, which are old as soon as they are drawn."""
    rows, says = state.get("rows", ()), state.get("says", "")
    body = [*_head(), *(part for at, row in enumerate(rows) for part in _row(HEAD + ROW * at, row, marks))]
    bottom = HEAD + ROW * len(rows)
    strong = {"fill": palette.STRONG, "font_weight": 600} if state.get("alarm") else {}
    body.append(text(short(says, WIDTH - 2 * MARGIN, SIZE), MARGIN, bottom + 14, **strong))
    return card(title, words.WHEN_SHOWN, body, WIDTH, bottom + FOOT, described="\n".join(_told(title, rows, says)))


def _head() -> Iterator[str]:
    for name, x in (("rank", RANK), ("doing", MARK), ("waits_for", WAITS)):
        yield text(words.SCRIPT[name], x, HEAD - 6, fill=palette.QUIET_INK)


def _row(y: float, row: Sequence[str], marks: Mapping[str, Sequence[str]]) -> Iterator[str]:
    mark, rank, _, doing, _, waits_for = row
    character, ground, ink = marks[mark]
    yield element("line", x1=MARGIN, x2=WIDTH - MARGIN, y1=y, y2=y, stroke=palette.GRID)
    yield text(rank, RANK, y + 16, font_weight=600)
    yield element("rect", x=MARK, y=y + 4, width=20, height=16, rx=4, fill=ground)
    yield text(character, MARK + 10, y + 16, text_anchor="middle", fill=ink)
    yield text(short(doing, WAITS - DOING - 12, SIZE), DOING, y + 16)
    if waits_for:
        yield text(short(waits_for, WIDTH - MARGIN - WAITS, SIZE), WAITS, y + 16)


def _told(title: str, rows: Iterable[Sequence[str]], says: str) -> Iterator[str]:
    yield title
    for _, rank, _, doing, _, waits_for in rows:
        sentence = words.ROW_WAITS if waits_for else words.ROW
        yield sentence.format(rank=rank, doing=doing, waits_for=waits_for)
    yield says
