"""A collective before and after: what every rank held, and what it holds when the call has returned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lab_utils.render import kit, palette
from lab_utils.render.kit import MARGIN, NAME, TITLE, Picture, arrow, card, element, pattern, text, text_width, words
from lab_utils.render.palette import REDUCED, UNKNOWN, rank_fill
from lab_utils.text import counted, numbered

LABEL_WIDTH, CELL_HEIGHT, ROW_GAP, MOST_COLUMNS = 58, 30, 12, 16
Held = np.ndarray | None
Table = list[list[str]]


@dataclass(frozen=True, slots=True)
class _Cell:
    """A formatted number; `source` is the rank it came from, None if reduced, -1 if several ranks had it."""

    shown: str
    source: int | None


def before_after(name: str, results: Sequence[tuple[Held, Held]]) -> Picture:
    """Draw one collective; results[rank] = (before, after), small arrays [columns] or [rows, columns], or None.

    >>> before_after("all_gather", ranks.run(demo))     # demo returns (before, after)

    A number that exactly one rank held before has that rank's tint and the mark "r0", "r1", ...; a number that no rank
    held is a reduction and striped. So give every rank distinct numbers, and none equal to a sum of others.
    ValueError for arrays of more than 2 dims or more columns than fit.
    """
    tables = [(_table(before), _table(after)) for before, after in results]
    owners = _owners([before for before, _ in tables])
    rows = [tuple([[_Cell(v, _source(v, owners)) for v in line] for line in held] for held in pair) for pair in tables]
    return _Drawing(name, rows).picture()


def _table(held: Held) -> Table:
    """Return the array's formatted numbers, [rows][columns]; no rows for None."""
    if held is None:
        return []
    array = np.atleast_2d(np.asarray(held))
    if array.ndim > 2 or array.shape[1] > MOST_COLUMNS:
        raise ValueError(
            f"an array of shape {list(np.shape(held))} does not fit: give [columns] or [rows, columns], "
            f"at most {MOST_COLUMNS} columns"
        )
    return [[f"{value:g}" for value in line] for line in array.tolist()]


def _owners(befores: Iterable[Table]) -> dict[str, set[int]]:
    owners: dict[str, set[int]] = {}
    for rank, table in enumerate(befores):
        for shown in (shown for line in table for shown in line):
            owners.setdefault(shown, set()).add(rank)
    return owners


def _source(shown: str, owners: dict[str, set[int]]) -> int | None:
    ranks = owners.get(shown, set())
    return None if not ranks else next(iter(ranks)) if len(ranks) == 1 else -1


class _Drawing:
    def __init__(self, name: str, rows: list[tuple[list[list[_Cell]], ...]]) -> None:
        self.name, self.rows = name, rows
        cells = [cell for pair in rows for held in pair for line in held for cell in line]
        self.cell = max([38.0, *(text_width(cell.shown, 13) + 16 for cell in cells)])
        columns = [max([1, *(len(line) for pair in rows for line in pair[side])]) for side in (0, 1)]
        self.left = MARGIN + LABEL_WIDTH
        self.arrow = max(110.0, text_width(name, 12) + 40)
        self.right = self.left + columns[0] * self.cell + self.arrow
        legend = text_width(self._legend_words(), 11) + 40
        width = max(self.right + columns[1] * self.cell, legend, 380.0)
        self.width = width + MARGIN
        self.striped = any(cell.source is None for cell in cells)

    def picture(self) -> Picture:
        heights = [max(1, len(before), len(after)) * CELL_HEIGHT for before, after in self.rows]
        top = TITLE + 22
        body = list(self._headings(top - 8))
        for rank, height in enumerate(heights):
            body.append(element("g", *self._row(rank, top, height), data_rank=str(rank)))
            top += height + ROW_GAP
        body += self._legend(top + 8)
        ranks = counted(len(self.rows), "rank")
        described = "\n".join([f"{self.name} on {ranks}", *map(self._line, range(len(self.rows)))])
        defs = [pattern(f"{NAME}-reduced", REDUCED)] if self.striped else []
        return card(
            self.name, f"{ranks}, before and after", body, self.width, top + 8 + MARGIN - 8, described=described,
            definitions=defs,
        )  # fmt: skip

    def _headings(self, y: float) -> Iterator[str]:
        yield text("before", self.left, y, fill=palette.QUIET_INK)
        yield text("after", self.right, y, fill=palette.QUIET_INK)

    def _row(self, rank: int, top: float, height: float) -> Iterator[str]:
        before, after = self.rows[rank]
        middle = top + height / 2
        yield text(f"rank {rank}", MARGIN, middle + 4, font_weight=600)
        yield from self._held(before, self.left, top, height)
        yield from self._held(after, self.right, top, height)
        end = self.right - 12
        yield text(self.name, end - self.arrow / 2 + 12, middle - 6, text_anchor="middle", font_size=12)
        yield arrow([(end - self.arrow + 28, middle), (end, middle)])

    def _held(self, lines: list[list[_Cell]], left: float, top: float, height: float) -> Iterator[str]:
        if not lines:
            yield text("nothing", left, top + height / 2 + 4, fill=palette.QUIET_INK, font_style="italic")
        top += (height - len(lines) * CELL_HEIGHT) / 2
        for row, line in enumerate(lines):
            for column, cell in enumerate(line):
                yield from self._cell(cell, left + column * self.cell, top + row * CELL_HEIGHT)

    def _cell(self, cell: _Cell, x: float, y: float) -> Iterator[str]:
        tip = element("title", words(f"{cell.shown}: {_origin(cell.source)}"))
        box = {"width": self.cell, "height": CELL_HEIGHT, "fill": self._paint(cell.source), "stroke": palette.CARD}
        yield element("rect", tip, x=x, y=y, stroke_width=2, rx=4, **box)
        known = cell.source is not None and cell.source >= 0
        middle = x + self.cell / 2
        base = y + (16 if known else 20)
        if cell.source is None:
            yield kit.plate(cell.shown, middle, base, 13, REDUCED.fill)
        yield text(cell.shown, middle, base, text_anchor="middle", font_size=13, font_weight=600)
        if known:
            yield text(f"r{cell.source}", middle, y + 26, text_anchor="middle", font_size=8.5)

    def _paint(self, source: int | None) -> str:
        if source is None:
            return f"url(#{NAME}-reduced)"
        return UNKNOWN if source < 0 else rank_fill(source)

    def _legend_words(self) -> str:
        return "tint and r0, r1, …: the one rank that held the number before · stripes: reduced"

    def _legend(self, y: float) -> Iterator[str]:
        yield text(self._legend_words(), MARGIN, y, fill=palette.QUIET_INK)

    def _line(self, rank: int) -> str:
        before, after = self.rows[rank]
        return f"rank {rank}: {_words(before, _shown)} → {_words(after, _with_source)}"


def _origin(source: int | None) -> str:
    if source is None:
        return "reduced, held by no rank before"
    return "held by several ranks before" if source < 0 else f"from rank {source}"


def _words(lines: list[list[_Cell]], say: Callable[[list[_Cell]], str]) -> str:
    inside = ", ".join(map(say, lines))
    return inside and (f"[{inside}]" if len(lines) > 1 else inside) or "nothing"


def _shown(line: list[_Cell]) -> str:
    return f"[{', '.join(cell.shown for cell in line)}]"


def _with_source(line: list[_Cell]) -> str:
    """Return the numbers, then their distinct sources in order."""
    sources = list(dict.fromkeys(cell.source for cell in line))
    one = [source for source in sources if source is not None and source >= 0]
    said = [f"from {numbered('rank', one)}"] if one else []
    said += [how for source, how in ((None, "reduced"), (-1, "several ranks had it")) if source in sources]
    return f"{_shown(line)} ({'; '.join(said)})" if said else _shown(line)
