"""Static picture of an order of F, B and W placed in time: a row per rank, with its peak memory beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

import numpy as np

from lab_utils.render import palette
from lab_utils.render.kit import MARGIN, NAME, Picture, card, element, label_on, pattern, round_ticks, text, text_width
from lab_utils.render.palette import STRONG
from lab_utils.schedule.draft import Draft
from lab_utils.schedule.ops import KINDS
from lab_utils.schedule.pauses import amount
from lab_utils.widgets.schedule_explorer import words
from lab_utils.widgets.timeline_view.words import IDLE, MEANING, RANK

WIDTH, LEFT, RIGHT, TOP, SIZE = 900, 84, 792, 86, 11
LINE, NOTE_WIDTH = 18, 140  # of a note: pixels to the next line, characters in a line
MOST_TICKS = 9
Facts = Sequence[tuple[str, str]]  # (name, value)


def schedule_picture(
    draft: Draft, start: np.ndarray, end: np.ndarray, title: str, facts: Facts, peaks: Sequence[float],
    limit: float | None, described: str, notes: Sequence[str] = (), extent: float | None = None,
    stands: Sequence[tuple[int, float, str]] = (),
) -> Picture:  # fmt: skip
    """Draw ops that run from start to end, float64[n]. The same order and times give the same bytes.

    peaks   per rank, peak number of micro-batches of a full stage, of which `limit` are allowed
    notes   sentences below the picture
    extent  how long the picture's time is, the makespan by default
    stands  (rank, since, op) of ranks that are stuck
    """
    drawing = _Drawing(draft, start, end, extent)
    bottom = TOP + draft.ranks * drawing.row
    lines = [line for note in notes for line in wrap(note, NOTE_WIDTH)]
    body = [
        *_numbers(facts), *drawing.axis(bottom), *drawing.rows(),
        *(part for stand in stands for part in drawing.stand(*stand)), *_peaks(peaks, limit, drawing.row),
        *drawing.legend(bottom + 46),
        *(text(line, MARGIN, bottom + 68 + LINE * at) for at, line in enumerate(lines)),
    ]  # fmt: skip
    height = bottom + 64 + LINE * len(lines)
    return card(title, "", body, WIDTH, height, described=described, definitions=drawing.definitions())


class _Drawing:
    def __init__(self, draft: Draft, start: np.ndarray, end: np.ndarray, extent: float | None) -> None:
        self.draft, self.start, self.end = draft, start, end
        self.extent = float(end.max(initial=0.0)) if extent is None else extent
        self.scale = (RIGHT - LEFT) / (self.extent or 1.0)
        self.row = 30 if draft.ranks <= 8 else 20 if draft.ranks <= 16 else 14
        self.staged = draft.stages != draft.ranks or draft.copies > 1
        self.used = [kind for at, kind in enumerate(KINDS) if (draft.kind == at).any()]

    def definitions(self) -> list[str]:
        looks = {kind: palette.COMPUTES[kind] for kind in self.used}
        return [pattern(f"{NAME}-{kind}", look) for kind, look in looks.items() if look.pattern != "plain"]

    def paint(self, kind: str) -> str:
        look = palette.COMPUTES[kind]
        return look.fill if look.pattern == "plain" else f"url(#{NAME}-{kind})"

    def axis(self, bottom: float) -> Iterator[str]:
        for at in _ticks(self.extent):
            x = LEFT + at * self.scale
            yield element("line", x1=x, x2=x, y1=TOP - 3, y2=bottom + 2, stroke=palette.GRID)
            yield text(amount(at), x, bottom + 15, text_anchor="middle", fill=palette.QUIET_INK)

    def rows(self) -> Iterator[str]:
        for rank in range(self.draft.ranks):
            y = TOP + rank * self.row
            yield element("rect", x=LEFT, y=y + 1, width=RIGHT - LEFT, height=self.row - 3, fill=palette.LANE)
            yield text(RANK.format(rank=rank), MARGIN, y + self.row / 2 + 3, font_weight=600)
            for at in range(*self.draft.first[rank : rank + 2].tolist()):
                yield from self._op(at, y)

    def _op(self, at: int, y: float) -> Iterator[str]:
        kind, x = KINDS[self.draft.kind[at]], LEFT + self.start[at] * self.scale
        width = (self.end[at] - self.start[at]) * self.scale
        gap = 0.8 if width > 3 else 0.0
        box = {"x": x, "y": y + 1, "width": max(width - gap, 0.4), "height": self.row - 3}
        yield element("rect", **box, fill=self.paint(kind))
        if label := next((word for word in self._words(at, kind) if text_width(word, SIZE) + 3 < width), ""):
            yield label_on(palette.COMPUTES[kind], label, x + width / 2, y + self.row / 2 + 3, SIZE)

    def stand(self, rank: int, since: float, word: str) -> Iterator[str]:
        """Mark where a rank is stuck, and at which op."""
        x, y = LEFT + since * self.scale, TOP + rank * self.row
        yield element("rect", x=x, y=y + 1, width=3, height=self.row - 3, fill=STRONG)
        said = words.STANDS_AT.format(op=word)
        yield text(said, x + 8, y + self.row / 2 + 3, fill=STRONG, font_weight=600)

    def _words(self, at: int, kind: str) -> tuple[str, ...]:
        """Return labels from long to short; all name the micro-batch."""
        number = str(self.draft.microbatch[at])
        staged = (f"{self.draft.stage[at]}{kind}{number}",) if self.staged else ()
        return (*staged, kind + number, number)

    def legend(self, y: float) -> Iterator[str]:
        x = float(MARGIN)
        for fill, meaning in [*((self.paint(kind), MEANING[kind]) for kind in self.used), (palette.LANE, IDLE)]:
            yield element("rect", x=x, y=y - 9, width=20, height=11, fill=fill, stroke=palette.GRID)
            yield text(meaning, x + 26, y)
            x += 44 + text_width(meaning, SIZE)


def _numbers(facts: Facts) -> Iterator[str]:
    for at, (name, value) in enumerate(facts):
        yield text(name, MARGIN + 170 * at, 50, fill=palette.QUIET_INK)
        yield text(value, MARGIN + 170 * at, 69, font_size=15, font_weight=600)


def _peaks(peaks: Sequence[float], limit: float | None, row: float) -> Iterator[str]:
    for rank, peak in enumerate(peaks):
        over = limit is not None and peak > limit + 1e-9
        holds = words.HOLDS if limit is None else words.HOLDS_OF
        said = holds.format(peak=f"{peak:g}", limit=f"{limit or 0:g}")
        said = words.TOO_MUCH.format(holds=said) if over else said
        ink = STRONG if over else palette.QUIET_INK
        yield text(said, RIGHT + 8, TOP + (rank + 0.5) * row + 3, fill=ink)


def _ticks(makespan: float) -> list[float]:
    """Return 0, step, 2 step ... up to the makespan; step is 1, 2 or 5 × 10^k."""
    return round_ticks(makespan, MOST_TICKS * (1 + 1e-9))[0] if makespan > 0 else [0.0]
