"""Columns beside a gradient flow: norms, disagreement before and after, and the piece that each rank keeps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Protocol

from lab_utils.render import palette
from lab_utils.render.kit import element, fitting, text
from lab_utils.render.palette import STRONG, rank_fill
from lab_utils.widgets.gradient_flow import words
from lab_utils.widgets.gradient_flow.flow import FlowPicture, Layer, number_text

Lanes = Sequence[tuple[float, float]]  # top and height of each rank's lane
EDGE = {"stroke": palette.INK, "stroke_width": 0.5}


class Side(Protocol):
    """A column: its head, its width including the padding on its left, and what it draws for a layer."""

    head: str
    width: float
    pad: float

    def draw(self, layer: Layer, x: float, top: float, lanes: Lanes) -> Iterator[str]: ...
    def legend(self) -> Iterator[tuple[str, str]]: ...


def side_columns(flow: FlowPicture, slack: float = 1.0) -> list[Side]:
    """Return the columns that have something to show; `slack` goes from 0 for the narrowest to 1 for the widest."""
    columns: list[Side] = [_Norms(flow, slack)]
    if any(layer.worst(when) is not None for layer in flow.layers for when in ("before", "after")):
        columns.append(_Disagreement(flow, slack))
    gradients = [gradient for layer in flow.layers for held in layer.held for gradient in held]
    if any(gradient.kept is not None or gradient.owner is not None for gradient in gradients):
        keeps = any(gradient.kept for gradient in gradients)
        columns.append(_Kept(words.KEEPS if keeps else words.UPDATES, slack))
    return columns


class _Norms:
    """A bar per rank on a logarithmic scale of whole decades; NaN and infinity are written out instead."""

    def __init__(self, flow: FlowPicture, slack: float) -> None:
        self.width, self.pad, self.room = 78 + 40 * slack, 8 + 10 * slack, 60 + 32 * slack
        ranks = range(flow.world_size)
        both = [(layer, rank, when) for layer in flow.layers for rank in ranks for when in ("before", "after")]
        norms = [norm for layer, rank, when in both if (norm := layer.norm(rank, when)) is not None]
        self.after = words.NORM_AFTER if flow.buckets else words.NORM_IN_THE_END
        self.changes = any(_changed(layer, rank) for layer, rank, _ in both)
        finite = [math.log10(norm) for norm in norms if norm and math.isfinite(norm)] or [0.0]
        self.low, self.high = math.floor(min(finite) - 0.2), math.ceil(max(finite))
        self.high = max(self.high, self.low + 1)
        heads = [head.format(low=self.low, high=self.high) for head in words.NORM]
        self.head = heads[0] if slack == 1 else fitting(heads, self.width - self.pad, 11)

    def draw(self, layer: Layer, x: float, top: float, lanes: Lanes) -> Iterator[str]:
        odd = None
        for rank, (y, height) in enumerate(lanes):
            norm = layer.norm(rank)
            if norm is not None and not math.isfinite(norm):
                odd = norm
            elif norm:
                yield _bar(x, y, self._at(norm), height, rank_fill(rank))
            if changed := _changed(layer, rank):
                at = x + self._at(changed)
                yield element("line", x1=at, x2=at, y1=y, y2=y + height, **_TICK)
        if odd is not None:
            yield _cross(x + 5, _middle(lanes))
            yield text(number_text(odd), x + 15, _middle(lanes) + 4, font_weight=600)

    def _at(self, norm: float) -> float:
        return max(1.0, self.room * (math.log10(norm) - self.low) / (self.high - self.low))

    def legend(self) -> Iterator[tuple[str, str]]:
        if self.changes:
            yield element("line", x1=8, x2=8, y1=-5, y2=5, **_TICK), self.after


class _Disagreement:
    """Hollow bars before the reduction, solid bars over them after it, and whether the ranks agree."""

    def __init__(self, flow: FlowPicture, slack: float) -> None:
        self.width, self.pad, self.room = 120 + 56 * slack, 8 + 4 * slack, 34 + 50 * slack
        self.head = words.DISAGREEMENT[0] if slack == 1 else fitting(words.DISAGREEMENT, self.width - self.pad, 11)
        found = [
            value for layer in flow.layers for rank in range(flow.world_size) for when in ("before", "after")
            if (value := layer.disagreement(rank, when)) is not None and math.isfinite(value)
        ]  # fmt: skip
        self.most = max(found, default=0.0) or 1.0
        self.differ = any(layer.worst("after") for layer in flow.layers)

    def draw(self, layer: Layer, x: float, top: float, lanes: Lanes) -> Iterator[str]:
        for rank, (y, height) in enumerate(lanes):
            for when, fill in (("before", palette.CARD), ("after", STRONG)):
                value = layer.disagreement(rank, when)
                if value is not None and math.isfinite(value) and value > 0:
                    yield _bar(x, y, max(1.0, self.room * value / self.most), height, fill)
        yield from self._verdict(layer, x + self.room + 8, _middle(lanes))

    def _verdict(self, layer: Layer, x: float, y: float) -> Iterator[str]:
        after = layer.worst("after")
        if after is None:
            yield text(words.ONE_HOLDER if layer.worst("before") is None else words.IN_PIECES, x, y + 4, **_QUIET)
        elif after == 0:
            yield element("path", d="M0 0L3 3.4L9 -4.5", fill="none", **_STROKE, transform=f"translate({x:g} {y:g})")
            yield text(words.AGREE, x + 14, y + 4)
        else:
            yield _cross(x + 4, y)
            yield text(number_text(after), x + 14, y + 4, font_weight=600)

    def legend(self) -> Iterator[tuple[str, str]]:
        yield _bar(0, -4, 16, 8, palette.CARD), words.DISAGREEMENT_BEFORE
        if self.differ:
            yield _bar(0, -4, 16, 8, STRONG), words.AND_AFTER


class _Kept:
    """The part that each rank keeps along the split dim; all of it if one rank updates it for all."""

    def __init__(self, head: str, slack: float) -> None:
        self.width, self.pad, self.room = 62 + 22 * slack, 8 + 8 * slack, 44 + 16 * slack
        self.head = head

    def draw(self, layer: Layer, x: float, top: float, lanes: Lanes) -> Iterator[str]:
        for rank, (y, height) in enumerate(lanes):
            for start, end in self._parts(layer, rank):
                if end > start:
                    yield _bar(x + self.room * start, y, self.room * (end - start), height, rank_fill(rank))

    def _parts(self, layer: Layer, rank: int) -> Iterator[tuple[float, float]]:
        held, size = layer.held[rank], sum(math.prod(gradient.shape) for gradient in layer.held[rank])
        at = 0.0
        for gradient in held:
            share = math.prod(gradient.shape) / size if size else 0.0
            if gradient.owner in (None, rank):
                start, end = _split(gradient.shape, gradient.kept)
                yield at + start * share, at + end * share
            at += share

    def legend(self) -> Iterator[tuple[str, str]]:
        return iter(())


def _split(shape, kept) -> tuple[float, float]:
    """Return (start, end) of the kept part along the first split dim, as fractions."""
    if kept is None:
        return 0.0, 1.0
    for start, size, whole in zip(kept.offset, kept.shape, shape, strict=True):
        if size != whole:
            return start / whole, (start + size) / whole
    return 0.0, 1.0


def _changed(layer: Layer, rank: int) -> float | None:
    """Return the norm after the reduction if the rank has all of it and the norm is finite and has changed."""
    before, after = layer.norm(rank), layer.norm(rank, "after")
    if not before or not after or not math.isfinite(after) or layer.share(rank) != 1:
        return None
    return None if math.isclose(before, after, rel_tol=1e-6) else after


def _bar(x: float, y: float, width: float, height: float, fill: str) -> str:
    inset = min(0.6, height / 6)
    return element("rect", x=x, y=y + inset, width=width, height=height - 2 * inset, fill=fill, **EDGE)


def _cross(x: float, y: float) -> str:
    """Draw the error mark."""
    lines = "M-3.5 -3.5L3.5 3.5M-3.5 3.5L3.5 -3.5"
    return element("path", d=lines, stroke=STRONG, stroke_width=2.4, fill="none", transform=f"translate({x:g} {y:g})")


def _middle(lanes: Lanes) -> float:
    return (lanes[0][0] + lanes[-1][0] + lanes[-1][1]) / 2


_QUIET = {"fill": palette.QUIET_INK, "font_size": 10}
_TICK = {"stroke": palette.INK, "stroke_width": 2.2}
_STROKE = {"stroke": palette.AGREES, "stroke_width": 2}
