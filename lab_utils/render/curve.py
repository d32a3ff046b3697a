"""Loss curves: named series over the steps, distinct in dashes and marks as well as colour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import starmap
from math import floor, isfinite

from lab_utils.render import palette
from lab_utils.render.kit import MARGIN, Picture, card, element, path, round_step, text, text_width
from lab_utils.render.palette import SERIES, Series

WIDTH, HEIGHT = 720, 340
LEFT, RIGHT, TOP, BOTTOM = 70, 690, 82, 284
MOST_POINTS = 600  # per drawn line: about one point per user unit, the finest visible
Points = Sequence[tuple[float, float]]


def loss_curve(
    series: Mapping[str, Points | Sequence[float]],
    title: str = "Loss",
    unit: str = "nats a token",
    along: str = "step",
) -> Picture:
    """Draw {name: [(step, loss), ...]} or {name: [loss, ...]}, the latter from step 0 on.

    >>> loss_curve({"serial": serial_losses, "4 ranks": losses})

    along   unit of the x axis: "step", "epoch", "second"

    Losses that are not finite leave a gap and are counted in the text. ValueError if there is nothing to draw.
    """
    return lines(series, title, of="loss", unit=unit, along=along)


def lines(series: Mapping[str, Points | Sequence[float]], title: str, *, of: str, unit: str, along: str) -> Picture:
    """Draw {name: [(x, y), ...]} as `loss_curve` does: y is `of`, in `unit`, and x one of `along`s."""
    drawn = {name: _points(values) for name, values in series.items()}
    finite = [point for points in drawn.values() for point in points if isfinite(point[1])]
    if not finite:
        raise ValueError(f"there is no {of} to draw in {', '.join(series) or 'no series'}")
    if len(drawn) > len(SERIES):
        raise ValueError(f"{len(drawn)} series cannot be told apart: draw at most {len(SERIES)} in one picture")
    return _Drawing(title, of, unit, along, drawn, finite).picture()


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round values, 1, 2 or 5 × 10^k apart, from at most `low` to at least `high`."""
    size = round_step(high - low, most - 1).size
    first, last = floor(low / size + 1e-9), -floor(-high / size + 1e-9)
    return [round(k * size, 12) for k in range(first, last + 1)]


class _Drawing:
    def __init__(self, title: str, of: str, unit: str, along: str, lines: dict[str, Points], finite: Points) -> None:
        self.title, self.of, self.unit, self.along, self.lines = title, of, unit, along, lines
        xs, ys = zip(*finite, strict=True)
        self.x_ticks = ticks(min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1, 8)
        spread = max(max(ys) - min(ys), 1e-3 * abs(max(ys)), 1e-9)
        self.y_ticks = ticks(min(ys), min(ys) + spread)

    def picture(self) -> Picture:
        body = [*self._grid(), *self._legend()]
        for (_, points), look in zip(self.lines.items(), SERIES, strict=False):
            body += self._line(points, look)
        described = "\n".join(
            [f"{self.title}, in {self.unit}", *starmap(partial(_said, self.of, self.along), self.lines.items())]
        )
        return card(self.title, f"{self.of} ({self.unit}) over {self.along}s", body, WIDTH, HEIGHT, described=described)

    def _x(self, step: float) -> float:
        return LEFT + (step - self.x_ticks[0]) / (self.x_ticks[-1] - self.x_ticks[0]) * (RIGHT - LEFT)

    def _y(self, loss: float) -> float:
        return BOTTOM - (loss - self.y_ticks[0]) / (self.y_ticks[-1] - self.y_ticks[0]) * (BOTTOM - TOP)

    def _grid(self) -> Iterator[str]:
        quiet = {"fill": palette.QUIET_INK}
        for loss in self.y_ticks:
            y = self._y(loss)
            yield element("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, stroke=palette.GRID)
            yield text(f"{loss:g}", LEFT - 8, y + 4, text_anchor="end", **quiet)
        for step in self.x_ticks:
            x = self._x(step)
            yield element("line", x1=x, x2=x, y1=BOTTOM, y2=BOTTOM + 4, stroke=palette.QUIET_INK)
            yield text(f"{step:g}", x, BOTTOM + 18, text_anchor="middle", **quiet)
        yield text(self.along, (LEFT + RIGHT) / 2, BOTTOM + 38, text_anchor="middle", **quiet)
        middle = (TOP + BOTTOM) / 2
        turned = f"rotate(-90 26 {middle:g})"
        yield text(f"{self.of} ({self.unit})", 26, middle, text_anchor="middle", transform=turned, **quiet)

    def _legend(self) -> Iterator[str]:
        x = float(MARGIN)
        for name, look in zip(self.lines, SERIES, strict=False):
            yield element("line", x1=x, x2=x + 30, y1=62, y2=62, **_stroke(look))
            yield text(look.mark, x + 15, 66, text_anchor="middle", fill=look.stroke, font_size=11)
            yield text(name, x + 36, 66)
            x += 36 + text_width(name, 11) + 22

    def _line(self, points: Points, look: Series) -> Iterator[str]:
        for stretch in _stretches(points):
            placed = [(self._x(step), self._y(loss)) for step, loss in thinned(stretch, MOST_POINTS)]
            if len(placed) > 1:
                yield element("path", d=path(placed), fill="none", stroke_linejoin="round", **_stroke(look))
            x, y = placed[-1]
            yield text(look.mark, x, y + 4, text_anchor="middle", fill=look.stroke, font_size=11)


def _points(values: Points | Sequence[float]) -> Points:
    pairs = [value if isinstance(value, tuple | list) else (at, value) for at, value in enumerate(values)]
    return [(float(step), float(loss)) for step, loss in pairs]


def _stroke(look: Series) -> dict[str, str | float]:
    dashes = {"stroke_dasharray": look.dashes} if look.dashes else {}
    return {"stroke": look.stroke, "stroke_width": 2.0} | dashes


def _stretches(points: Points) -> Iterator[list[tuple[float, float]]]:
    """Yield runs of points with finite loss."""
    run: list[tuple[float, float]] = []
    for step, loss in points:
        if isfinite(loss):
            run.append((step, loss))
        elif run:
            yield run
            run = []
    if run:
        yield run


def thinned(points: Sequence, most: int) -> list:
    """Return at most most + 1 evenly spaced points, always with the last."""
    stride = -(-len(points) // most) or 1
    return [*points[:-1:stride], *points[-1:]]


def _said(of: str, along: str, name: str, points: Points) -> str:
    finite = [(step, loss) for step, loss in points if isfinite(loss)]
    if not finite:
        return f"{name}: no {of} is a number"
    (first, before), (last, after) = finite[0], finite[-1]
    low_step, low = min(finite, key=lambda point: point[1])
    said = f"{name}: " + ", ".join(
        f"{lowest}{loss:.2f} at {along} {at:g}"
        for lowest, loss, at in (("", before, first), ("", after, last), ("lowest ", low, low_step))
    )
    odd = len(points) - len(finite)
    return f"{said}; {odd} not a number" if odd else said
