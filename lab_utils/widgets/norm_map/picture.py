"""Gradient norms as a heat map, layer × step; vanishing, exploding and non-finite norms have their own patterns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np

from lab_utils.render import palette
from lab_utils.render.curve import ticks
from lab_utils.render.kit import MARGIN, NAME, Picture, card, element, number, pattern, text, text_width
from lab_utils.render.palette import STRONG, Look
from lab_utils.widgets.norm_map.norms import EXPLODES, EXPLODING, FINE, INFINITE, NAN, VANISHES, VANISHING, Norms

WIDTH, TOP = 960, 66
MOST_COLUMNS = 160  # more steps than this share columns
# One hue from light to dark, so that lightness alone shows the order: Okabe and Ito's blue, mixed with the card.
SHADES = ("#eaf1f6", "#cfe2ee", "#b3d2e6", "#95c1dd", "#74afd3", "#519dc8", "#2b8abd", "#0072b2", "#005f95", "#004b78")
LOOKS = {
    VANISHES: ("vanishing", Look("#ffffff", "dots", "#b0568a", palette.INK), "▽"),
    EXPLODES: ("exploding", Look("#f4b899", "stripes", STRONG, palette.INK), "▲"),
    INFINITE: ("infinite", Look(STRONG, "plain", STRONG, "#ffffff"), "∞"),
    NAN: ("NaN", Look("#1f2328", "plain", "#1f2328", "#ffffff"), "✕"),
}


def norm_map(
    norms: Norms | Mapping[str, Sequence[float]], title: str = "Gradient norms",
    vanishing: float = VANISHING, exploding: float = EXPLODING,
) -> Picture:  # fmt: skip
    """Draw norms [layers, steps], or {layer: [norm of each step]}, darker for larger on a logarithmic scale.

    >>> norm_map({"head": norms_of_head, "blocks.1": norms_of_block})

    vanishing, exploding    factors of the median over layers at a step, below and above which a norm is marked, and
                            above the layer's past median; ignored for `Norms`, which has its own

    With more steps than columns, a column shows the geometric mean of its steps and the worst mark of any. ValueError
    if there is nothing to draw, or layers have different numbers of steps.
    """
    if not isinstance(norms, Norms):
        lengths = {len(values) for values in norms.values()}
        if len(lengths) > 1:
            raise ValueError(f"the layers have {sorted(lengths)} steps: each needs one norm for each step")
        rows = [(at, {name: values[at] for name, values in norms.items()}) for at in range(max(lengths, default=0))]
        norms = Norms.of(rows, vanishing, exploding)
    return NormDrawing(norms, title).picture()


class NormDrawing:
    """Draws a norm map; `left`, `row`, `width` and `count` are its grid, which hovering needs."""

    def __init__(self, norms: Norms, title: str) -> None:
        self.norms, self.title = norms, title
        names = max(text_width(layer, 11) for layer in norms.layers)
        self.left = MARGIN + min(250.0, 0.95 * names) + 12
        self.right = WIDTH - MARGIN
        self.row = max(5.0, min(18.0, 620 / len(norms.layers)))
        self.count = min(MOST_COLUMNS, len(norms.steps))
        self.width = min(26.0, (self.right - self.left) / self.count)
        edges = np.linspace(0, len(norms.steps), self.count + 1).round().astype(int)
        self.states = np.maximum.reduceat(norms.states, edges[:-1], axis=1)
        self.logs = _mean_logs(norms.values, edges)
        finite = self.logs[np.isfinite(self.logs) & (self.states == FINE)]  # marked norms do not stretch the scale
        self.low, self.high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        self.bottom = TOP + len(norms.layers) * self.row

    def picture(self) -> Picture:
        body = [*self._names(), *self._cells(), *self._marks(), *self._axis()]
        legend, height = self._legend(self.bottom + 52)
        said = self.norms.words() or ["no layer vanishes, explodes or is not a number"]
        size = f"{len(self.norms.layers)} layers, steps {self.norms.steps[0]} to {self.norms.steps[-1]}"
        described = "\n".join([f"{self.title}: {size}", *said])
        patterns = [pattern(f"{NAME}-{name}", look) for name, look, _ in LOOKS.values() if look.pattern != "plain"]
        found = len(self.norms.words())
        wrong = f"; {found} finding{'s' if found > 1 else ''}" if found else ""
        return card(
            self.title, f"{size}{wrong}", [*body, *legend], WIDTH, height, described=described, definitions=patterns
        )

    def _names(self) -> Iterator[str]:
        every = max(1, round(11 / self.row))
        for at, layer in enumerate(self.norms.layers):
            if at % every == 0:
                y = TOP + (at + 0.5) * self.row + 4
                yield text(layer[-40:], self.left - 8, y, text_anchor="end", font_size=min(11, 0.5 + self.row))

    def _cells(self) -> Iterator[str]:
        """Draw all cells of a shade as one path, to keep the picture small."""
        with np.errstate(invalid="ignore"):
            part = (self.logs - self.low) / ((self.high - self.low) or 1.0)
            shades = np.floor(part * len(SHADES)).clip(0, len(SHADES) - 1)
        shades = np.where(np.isnan(shades), -1, shades).astype(int)
        yield self._ground()
        for shade, fill in enumerate(SHADES):
            if d := "".join(self._runs(shades == shade)):
                yield element("path", d=d, fill=fill, stroke=fill, stroke_width=0.4)

    def _ground(self) -> str:
        width, height = self.count * self.width, self.bottom - TOP
        return element("rect", x=self.left, y=TOP, width=width, height=height, fill=palette.LANE)

    def _runs(self, mask: np.ndarray) -> Iterator[str]:
        for at, first, last in _runs(mask):
            x, y, width = self.left + first * self.width, TOP + at * self.row, (last - first) * self.width
            yield f"M{number(x)} {number(y)}h{number(width)}v{number(self.row)}h{number(-width)}z"

    def _marks(self) -> Iterator[str]:
        """Draw each run of a problem as one box with its pattern, and its sign at the start."""
        size = min(11.0, self.row * 0.72)
        for state, (name, look, sign) in LOOKS.items():
            fill = look.fill if look.pattern == "plain" else f"url(#{NAME}-{name})"
            for at, first, last in _runs(self.states == state):
                x, y = self.left + first * self.width, TOP + at * self.row
                box = {"x": x, "y": y + 0.5, "width": (last - first) * self.width, "height": self.row - 1}
                yield element("rect", **box, fill=fill, stroke=look.pattern_ink, stroke_width=0.8, data_state=name)
                middle = x + min((last - first) * self.width / 2, size * 0.62)
                halo = {"stroke": look.fill, "stroke_width": 3, "paint_order": "stroke", "stroke_linejoin": "round"}
                base = y + self.row / 2 + 0.36 * size
                style = {"font_size": size, "fill": look.ink, "pointer_events": "none"}
                yield text(sign, middle, base, text_anchor="middle", **style, **halo)

    def _axis(self) -> Iterator[str]:
        steps, quiet = self.norms.steps, {"fill": palette.QUIET_INK}
        span = self.count * self.width
        for at in ticks(0, max(1, len(steps) - 1), 9):
            if at < len(steps) and at == int(at):
                x = self.left + (at + 0.5) * span / len(steps)
                yield element("line", x1=x, x2=x, y1=self.bottom, y2=self.bottom + 4, stroke=palette.QUIET_INK)
                yield text(f"{steps[int(at)]}", x, self.bottom + 17, text_anchor="middle", **quiet)
        yield text("step", self.left - 8, self.bottom + 17, text_anchor="end", **quiet)

    def _legend(self, base: float) -> tuple[list[str], float]:
        quiet, x = {"fill": palette.QUIET_INK}, float(MARGIN)
        low, high = f"norm {10**self.low:.3g}", f"{10**self.high:.3g}"
        drawn = [text(low, x, base, **quiet)]
        x += text_width(low, 11) + 8
        for shade in SHADES:
            drawn.append(element("rect", x=x, y=base - 9.5, width=14, height=11, fill=shade))
            x += 14
        drawn.append(text(high, x + 8, base, **quiet))
        x += 8 + text_width(high, 11) + 26
        for state, words in self._meanings():
            if x + 26 + text_width(words, 11) > self.right:
                x, base = float(MARGIN), base + 21
            name, look, sign = LOOKS[state]
            fill = look.fill if look.pattern == "plain" else f"url(#{NAME}-{name})"
            edge = {"stroke": look.pattern_ink, "stroke_width": 0.8}
            drawn.append(element("rect", x=x, y=base - 11, width=20, height=14, rx=1.5, fill=fill, **edge))
            halo = {"stroke": look.fill, "stroke_width": 3, "paint_order": "stroke"}
            drawn.append(text(sign, x + 10, base, text_anchor="middle", font_size=10, fill=look.ink, **halo))
            drawn.append(text(words, x + 26, base))
            x += 26 + text_width(words, 11) + 14
        return drawn, base + 18

    def _meanings(self) -> Iterator[tuple[int, str]]:
        yield VANISHES, f"vanishing: below {self.norms.vanishing:g} × median of layers"
        yield EXPLODES, f"exploding: above {self.norms.exploding:g} × that, or of what was before"
        yield INFINITE, "infinite"
        yield NAN, "NaN"


def _mean_logs(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return log10 of the geometric mean of each column's positive finite norms; NaN if there is none."""
    good = np.isfinite(values) & (values > 0)
    logs = np.log10(np.where(good, values, 1.0))
    counts = np.add.reduceat(good, edges[:-1], axis=1, dtype=np.int64)
    sums = np.add.reduceat(logs, edges[:-1], axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _runs(mask: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Yield (row, first column, one past the last) of each run of True."""
    for at, row in enumerate(mask):
        column = 0
        for true, members in groupby(row.tolist()):
            length = len(list(members))
            if true:
                yield at, column, column + length
            column += length
