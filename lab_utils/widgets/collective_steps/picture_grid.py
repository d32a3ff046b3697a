"""Ranks × chunks: a row per rank, a cell per chunk with a slot for each part, and arrows for messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab_utils.render import palette
from lab_utils.render.kit import arrow, element, number, path, text, text_width, tip
from lab_utils.render.palette import STRONG, rank_fill
from lab_utils.text import bytes_text
from lab_utils.widgets.collective_steps import words
from lab_utils.widgets.collective_steps.rounds import ChunkRounds, Sent
from lab_utils.widgets.collective_steps.sentences import chunk_said, message_said, said, shown

TRACK, MOST_TRACKS = 7.0, 3  # width of an arrow beside a column; further arrows share tracks


@dataclass(frozen=True, slots=True)
class Size:
    """Lengths of a grid, in user units; `cell` is the maximum width of a cell."""

    label: float
    cell: float
    row: float
    height: float
    font: float


SMALL, SMALL_MANY = Size(40, 42, 28, 22, 9.5), Size(40, 33, 21, 17, 9)
LARGE, LARGE_MANY = Size(62, 190, 50, 36, 13), Size(62, 150, 34, 25, 11.5)


class Grid:
    """Lays out and draws the cells of one state, within `width`."""

    def __init__(self, rounds: ChunkRounds, size: Size, left: float, top: float, width: float) -> None:
        self.rounds, self.size, self.left, self.top = rounds, size, left, top
        tracks = (1 + track for sent in rounds.sent for track in _tracks(sent).values())
        self.tracks = min(MOST_TRACKS, max(tracks, default=1))
        self.lane = 6 + TRACK * self.tracks
        room = (width - size.label) / len(rounds.chunks)
        self.cell = max(9.0, min(size.cell, room - self.lane - 3))
        self.column = self.lane + self.cell + 3
        self.width = size.label + self.column * len(rounds.chunks)
        self.height = rounds.world_size * size.row

    def x(self, chunk: int) -> float:
        return self.left + self.size.label + chunk * self.column + self.lane

    def y(self, rank: int) -> float:
        return self.top + rank * self.size.row

    def names(self) -> Iterator[str]:
        """Draw rank names beside the rows, chunk names above the columns."""
        for rank in range(self.rounds.world_size):
            base = self.y(rank) + self.size.height / 2 + self.size.font * 0.36
            yield text(words.RANK.format(rank=rank), self.left, base, font_size=self.size.font + 0.5)
        quiet = {"text_anchor": "middle", "fill": palette.QUIET_INK, "font_size": self.size.font}
        for column, chunk in enumerate(self.rounds.chunks):
            names = [name.format(chunk=column, bytes=bytes_text(chunk.bytes)) for name in words.CHUNK_HEADS]
            fitting = [name for name in names if text_width(name, self.size.font) < self.cell]
            for name in fitting[:1]:
                yield text(name, self.x(column) + self.cell / 2, self.top - 6, **quiet)

    def cells(self, k: int, hover: bool) -> Iterator[str]:
        """Draw all cells after k rounds, with one path for equal marks to keep the picture small."""
        arrived = {(m.dst, c) for m in (self.rounds.sent[k - 1] if k else ()) for c in m.chunks}
        places = [(rank, chunk) for rank in range(self.rounds.world_size) for chunk in range(len(self.rounds.chunks))]
        yield element("path", d="".join(self._box(*at) for at in places), fill=palette.LANE)
        for whose in range(self.rounds.world_size):
            slots = [self._slot(*at, whose) for at in places if self._has(k, at, whose)]
            if slots:
                yield element("path", d="".join(slots), fill=rank_fill(whose))
        if hover:
            yield from (self._edge(k, at, at in arrived) for at in places)
        else:
            quiet = "".join(self._box(*at) for at in places if at not in arrived)
            yield element("path", d=quiet, fill="none", stroke=palette.QUIET_INK, stroke_width=0.6)
            if arrived:
                strong = "".join(self._box(*at) for at in sorted(arrived))
                yield element("path", d=strong, fill="none", stroke=STRONG, stroke_width=2.4)
        yield from (self._label(k, at) for at in places if self.rounds.holds[k][at[0]][at[1]])

    def every_cell(self) -> Iterator[str]:
        """Draw the cells before the first round, one group per cell, with all slots; empty ones are hidden."""
        for rank in range(self.rounds.world_size):
            for column, chunk in enumerate(self.rounds.chunks):
                at, x, y = (rank, column), self.x(column), self.y(rank)
                box = {"y": y, "height": self.size.height}
                slot = self.cell / len(chunk.ranks)
                inside = [element("rect", x=x, width=self.cell, **box, fill=palette.LANE)]
                for place, whose in enumerate(chunk.ranks):
                    hidden = {} if self._has(0, at, whose) else {"visibility": "hidden"}
                    look = {"fill": rank_fill(whose), "data_part": str(whose)} | hidden
                    inside.append(element("rect", x=x + place * slot, width=slot, **box, **look))
                inside += [self._edge(0, at, False), self._label(0, at)]
                yield element("g", *inside, data_cell=f"{rank} {column}")

    def _has(self, k: int, at: tuple[int, int], whose: int) -> bool:
        return any(whose in parts for parts in self.rounds.holds[k][at[0]][at[1]])

    def _box(self, rank: int, chunk: int) -> str:
        return _rectangle(self.x(chunk), self.y(rank), self.cell, self.size.height)

    def _slot(self, rank: int, chunk: int, whose: int) -> str:
        ranks = self.rounds.chunks[chunk].ranks
        width = self.cell / len(ranks)
        return _rectangle(self.x(chunk) + ranks.index(whose) * width, self.y(rank), width, self.size.height)

    def _edge(self, k: int, at: tuple[int, int], arrived: bool) -> str:
        rank, column = at
        chunk = self.rounds.chunks[column]
        holding = said(self.rounds.holds[k][rank][column], chunk)
        about = words.CELL_HOLDS.format(rank=rank, chunk=chunk_said(column, chunk), holding=holding)
        box = {"x": self.x(column), "y": self.y(rank), "width": self.cell, "height": self.size.height}
        edge = {"stroke": STRONG if arrived else palette.QUIET_INK, "stroke_width": 2.4 if arrived else 0.6}
        return element("rect", *tip(about), **box, rx=2, fill="none", pointer_events="all", **edge)

    def _label(self, k: int, at: tuple[int, int]) -> str:
        rank, column = at
        chunk, holding = self.rounds.chunks[column], self.rounds.holds[k][rank][column]
        label = self.fitting(shown(holding, chunk))
        bold = {"font_weight": 700} if label == words.ALL else {}
        look = {"text_anchor": "middle", "font_size": self.size.font, "pointer_events": "none"} | bold
        x, y = self.x(column) + self.cell / 2, self.y(rank) + self.size.height / 2 + self.size.font * 0.36
        return text(label, x, y, **look)

    def fitting(self, label: str) -> str:
        """Return the label, or only its ✓ or ✕, or "" where cells are too narrow."""
        tries = (label, label[:1] if label[:1] in (words.DONE, words.WRONG) else "")
        return next((part for part in tries if text_width(part, self.size.font) <= self.cell + 4), "")

    def arrows(self, k: int, hover: bool, reach: float = 0.0) -> Iterator[str]:
        """Draw an arrow per chunk of each message of the round; messages without chunks have none.

        reach   width of the arrow's invisible hover area
        """
        sent = self.rounds.sent[k - 1] if k else ()
        tracks = _tracks(sent)
        for at, message in enumerate(sent):
            lines = [self._line(message, c, tracks[at, c] % self.tracks) for c in message.chunks]
            drawn = [arrow(points, stroke=STRONG) for points in lines]
            if reach:
                wide = {"stroke_width": reach, "stroke": STRONG, "stroke_opacity": 0.0}
                wide |= {"pointer_events": "visibleStroke"}
                drawn += [element("path", d=path(points), fill="none", **wide) for points in lines]
            if drawn:
                yield element("g", *tip(message_said(message, self.rounds), hover), *drawn, data_message=str(at))

    def _line(self, message: Sent, chunk: int, track: int) -> list[tuple[float, float]]:
        """Return the line from the sender's cell through the lane on its left to the receiver's cell."""
        edge = self.x(chunk)
        lane = edge - 8 - TRACK * track
        nudge = self.size.height * (0.2 if message.dst > message.src else -0.2)  # separates incoming from outgoing
        start, end = (self.y(rank) + self.size.height / 2 for rank in (message.src, message.dst))
        return [(edge, start + nudge), (lane, start + nudge), (lane, end - nudge), (edge, end - nudge)]


def _tracks(sent: Sequence[Sent]) -> dict[tuple[int, int], int]:
    """Map (message, chunk) to a track beside the column, such that arrows do not overlap.

    Arrows from one sender, or to one receiver, may share a track: they read as one branching line.
    """
    placed: dict[tuple[int, int], int] = {}
    for at, message in enumerate(sent):
        for chunk in message.chunks:
            taken = {track for (other, c), track in placed.items() if c == chunk and _cross(message, sent[other])}
            placed[at, chunk] = next(track for track in range(len(sent) + 1) if track not in taken)
    return placed


def _cross(one: Sent, other: Sent) -> bool:
    if one.src == other.src or one.dst == other.dst:
        return False
    low, high = sorted((one.src, one.dst))
    return not (max(other.src, other.dst) < low or min(other.src, other.dst) > high)


def _rectangle(x: float, y: float, width: float, height: float) -> str:
    return f"M{number(x)} {number(y)}h{number(width)}v{number(height)}h{number(-width)}z"
