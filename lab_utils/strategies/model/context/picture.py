"""Ring attention as a picture: round by round, which rank computes which block of the mask, contiguous and zigzag."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lab_utils.render import palette
from lab_utils.render.kit import MARGIN, TITLE, Picture, card, element, fitting, path, text, tip
from lab_utils.strategies.model.context.zigzag import SequenceSplit
from lab_utils.text import three_digits

WIDTH, PER_LINE, MOST = 760, 4, 8  # panels beside each other, ranks that are drawn
GAP, HEAD, BARS, BAR = 26, 34, 46, 22  # above a panel are its title and the keys' ranks, below it each rank's work
SUMMARY = 26
NAMES = {False: "contiguous", True: "zigzag"}


@dataclass(frozen=True, slots=True)
class _Panel:
    """One round of one split, in cells: 2 n slices of queries downwards, and of keys to the right."""

    split: SequenceSplit
    causal: bool
    hop: int

    def source(self, rank: int) -> int:
        """Return whose keys and values the rank has in this round."""
        return (rank - self.hop) % self.split.ranks

    def cells(self, rank: int) -> list[tuple[int, int]]:
        """Return the (query slice, key slice) that the rank computes."""
        block = self.split.block(rank, self.source(rank), self.causal)
        if block is None:
            return []
        queries = self.split.positions(rank).tolist()[block.first :]
        keys = self.split.positions(self.source(rank)).tolist()[: block.keys]
        return [(query, key) for query in queries for key in keys if key <= query or not block.causal]

    def work(self, rank: int) -> float:
        """Return the rank's work, in blocks of T/n queries × T/n keys."""
        return self.split.work(rank, self.source(rank), self.causal) / (self.split.tokens / self.split.ranks) ** 2

    @property
    def works(self) -> list[float]:
        return [self.work(rank) for rank in range(self.split.ranks)]


def ring_rounds(ranks: int = 4, causal: bool = True) -> Picture:
    """Draw the rounds of ring attention on 2 to 8 ranks, the contiguous split above the zigzag. ValueError for others.

    A panel is the mask, queries downwards and keys to the right, in 2 n slices: tinted what a rank computes in this
    round, grey what was computed before. Bars are the ranks' work, and a round lasts as long as its highest bar.
    """
    if not 2 <= ranks <= MOST:
        raise ValueError(f"{ranks} ranks: the rounds are drawn of 2 to {MOST}")
    rows = [[_Panel(SequenceSplit(2 * ranks, ranks, zigzag), causal, hop) for hop in range(ranks)] for zigzag in NAMES]
    side = (WIDTH - 2 * MARGIN - (PER_LINE - 1) * GAP) / PER_LINE
    line = HEAD + side + BARS
    lines = -(-ranks // PER_LINE)
    body, top, described = [], TITLE + 14.0, []
    for panels in rows:
        summary = _summary(panels)
        body.append(text(summary, MARGIN, top, font_size=12, font_weight=600))
        described.append(summary)
        for panel in panels:
            x = MARGIN + panel.hop % PER_LINE * (side + GAP)
            body += _draw(panel, x, top + 18 + panel.hop // PER_LINE * line, side)
            described.append(_line(panel))
        top += 18 + lines * line + SUMMARY
    mask = "causal" if causal else "not causal"
    return card(
        f"Ring attention on {ranks} ranks, {mask}: queries downwards, keys to the right",
        "number and tint: the rank that computes · above: whose keys, values · grey: before · bars: work in the round",
        body, WIDTH, top - 8, described="\n".join(described),
    )  # fmt: skip


def _draw(panel: _Panel, x: float, top: float, side: float) -> Iterator[str]:
    slices = 2 * panel.split.ranks
    cell, top = side / slices, top + HEAD
    yield text(f"round {panel.hop}", x, top - 18, font_weight=600)
    yield element("rect", x=x, y=top, width=side, height=side, fill=palette.LANE)
    for rank in range(panel.split.ranks):
        for key in panel.split.positions(rank).tolist():
            yield text(
                str(rank), x + (key + 0.5) * cell, top - 4, text_anchor="middle", font_size=min(9, 0.75 * cell),
                fill=palette.QUIET_INK,
            )  # fmt: skip
        for hop in range(panel.hop):
            earlier = _Panel(panel.split, panel.causal, hop)
            yield from _cells(earlier, rank, x, top, cell, palette.GRID)
        yield from _cells(panel, rank, x, top, cell, palette.rank_fill(rank), str(rank))
    yield from _bars(panel, x, top + side, side)


def _cells(panel: _Panel, rank: int, x: float, top: float, cell: float, fill: str, label: str = "") -> Iterator[str]:
    """Draw what the rank computes in the panel's round; on a causal mask's diagonal half a cell."""
    said = tip(_of_rank(panel, rank), hover=bool(label))
    for query, key in panel.cells(rank):
        left, up, gap = x + key * cell, top + query * cell, min(1.0, cell / 8)
        corners = [(left, up), (left, up + cell - gap), (left + cell - gap, up + cell - gap)]
        half = panel.causal and query == key
        corners += [] if half else [(left + cell - gap, up)]
        yield element("path", *said, d=path(corners) + "Z", fill=fill)
        if label and cell >= 9:
            at = (0.32, 0.86) if half else (0.5, 0.7)
            yield text(
                label, left + at[0] * cell, up + at[1] * cell, text_anchor="middle", font_size=min(10, 0.6 * cell),
                pointer_events="none",
            )  # fmt: skip


def _bars(panel: _Panel, x: float, top: float, side: float) -> Iterator[str]:
    """Draw each rank's work as a bar, its number below."""
    step, base = side / panel.split.ranks, top + 8 + BAR
    for rank, work in enumerate(panel.works):
        left, height = x + rank * step + 1, BAR * work
        if work:
            fill = palette.rank_fill(rank)
            yield element("rect", x=left, y=base - height, width=step - 2, height=height, fill=fill)
        yield element("rect", x=left, y=base, width=step - 2, height=1, fill=palette.OUTLINE)
        label = fitting([f"rank {rank}", str(rank)], step - 2, 9)
        yield text(label, left + step / 2 - 1, base + 11, text_anchor="middle", font_size=9, fill=palette.QUIET_INK)
        if not work:
            yield text("idle" if step >= 24 else "–", left + step / 2 - 1, base - 4, text_anchor="middle", font_size=9)


def _summary(panels: list[_Panel]) -> str:
    """Return the split's sentence: what the rounds take, and what they would if all ranks computed as much."""
    split = panels[0].split
    takes, mean = sum(max(panel.works) for panel in panels), sum(sum(panel.works) for panel in panels) / split.ranks
    most = split.imbalance(panels[0].causal)
    return (
        f"{NAMES[split.zigzag]}: the rounds last {three_digits(takes)} blocks of T/{split.ranks} × T/{split.ranks}, an "
        f"even share is {three_digits(mean)}; most loaded / mean {three_digits(most)}"
    )


def _line(panel: _Panel) -> str:
    of_ranks = "; ".join(_of_rank(panel, rank) for rank in range(panel.split.ranks))
    return f"{NAMES[panel.split.zigzag]}, round {panel.hop}: {of_ranks}"


def _of_rank(panel: _Panel, rank: int) -> str:
    """Return the rank's part of a round in words."""
    cells, source = panel.cells(rank), panel.source(rank)
    whose = "its own keys" if source == rank else f"the keys of rank {source}"
    if not cells:
        return f"rank {rank} has {whose} and is idle"
    queries, keys = (sorted({cell[side] for cell in cells}) for side in (0, 1))
    return (
        f"rank {rank} computes slices {_numbers(queries)} with {_numbers(keys)} of {whose}, work "
        f"{three_digits(panel.work(rank))}"
    )


def _numbers(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))
