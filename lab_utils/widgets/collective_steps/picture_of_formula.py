"""A collective step by step: a panel per step, ranks × chunks, with messages and the parts reduced so far."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Protocol

from lab_utils.render import palette
from lab_utils.render.kit import MARGIN, TITLE, Picture, arrow, card, element, text, text_width, words
from lab_utils.render.palette import STRONG, rank_fill

WIDTH, ROW, GAP = 900, 28, 18
MOST_NAMED = 4  # up to this many ranks a chunk names its parts, "0+1+2"; beyond, their number
LANE = 12  # left part of a chunk's column, for its arrows
PANEL_HEAD, SECTION_HEAD = 34, 26


class Message(Protocol):
    """`src` sends `chunks` (their numbers) to `dst`."""

    src: int
    dst: int
    chunks: Sequence[int]


class Step(Protocol):
    """One step; holds[rank][chunk] = ranks whose parts are in that rank's chunk after the step."""

    number: int
    phase: str
    adds: bool
    messages: Sequence[Message]
    holds: Sequence[Sequence[frozenset[int]]]


def step_by_step(name: str, steps: Sequence[Step]) -> Picture:
    """Draw the steps that `lab_utils.comm.algorithms.steps` lists, with a section per phase and a panel per step.

    >>> step_by_step("ring all-reduce", ring_steps(4))

    A chunk is a box with one slot per rank, filled once that rank's part has been added; a thick edge marks what
    has just arrived. ValueError if there are no steps (a group of one rank sends nothing).
    """
    if not steps:
        raise ValueError("there is no step to draw: a group of one rank sends nothing")
    return _Drawing(name, steps).picture()


class _Drawing:
    def __init__(self, name: str, steps: Sequence[Step]) -> None:
        self.name, self.steps = name, steps
        self.ranks, self.chunks = len(steps[0].holds), len(steps[0].holds[0])
        self.slot = (42.0 if self.ranks <= MOST_NAMED else max(16.0, 2.0 * self.ranks)) / self.ranks
        self.column = LANE + self.slot * self.ranks + 3
        self.label = 38
        self.panel = self.label + self.column * self.chunks
        self.across = max(1, int((WIDTH - 2 * MARGIN + GAP) // (self.panel + GAP)))
        self.panel_height = PANEL_HEAD + self.ranks * ROW + GAP

    def picture(self) -> Picture:
        body, y, widest = [], float(TITLE + 8), 1
        for phase, group in groupby(self.steps, key=lambda step: step.phase.partition(" ")[0]):
            steps = list(group)
            widest = max(widest, min(self.across, len(steps)))
            body.append(text(_heading(phase, steps), MARGIN, y + 12, font_size=13, font_weight=600))
            y += SECTION_HEAD
            for at, step in enumerate(steps):
                row, column = divmod(at, self.across)
                left = MARGIN + column * (self.panel + GAP)
                panel = self._panel(step, left, y + row * self.panel_height)
                body.append(element("g", *panel, data_step=str(step.number)))
            y += -(-len(steps) // self.across) * self.panel_height
        legend = "slots: whose parts are in the chunk · arrow: the chunk that travels · thick edge: just arrived"
        body.append(text(legend, MARGIN, y + 4, fill=palette.QUIET_INK))
        width = max(widest * (self.panel + GAP) - GAP, text_width(legend, 11), 420) + 2 * MARGIN
        subtitle = (
            f"{self.ranks} ranks, {self.chunks} chunks, {len(self.steps)} steps: what every rank holds after each"
        )
        return card(self.name, subtitle, body, width, y + MARGIN, described=self._described())

    def _panel(self, step: Step, left: float, top: float) -> Iterator[str]:
        where = step.phase.partition(" ")[2]  # "in node", "across nodes"
        yield text(
            f"step {step.number + 1}{where and ', '}{where}", left, top + 12, font_weight=600, fill=palette.QUIET_INK
        )
        cells = left + self.label
        for chunk in range(self.chunks):
            middle = cells + chunk * self.column + LANE + self.slot * self.ranks / 2
            yield text(f"c{chunk}", middle, top + 26, text_anchor="middle", fill=palette.QUIET_INK, font_size=10)
        arrived = {(m.dst, chunk) for m in step.messages for chunk in m.chunks}
        for rank, chunks in enumerate(step.holds):
            y = top + PANEL_HEAD + rank * ROW
            yield text(f"rank {rank}", left, y + ROW / 2 + 2, font_size=10)
            for chunk, parts in enumerate(chunks):
                x = cells + chunk * self.column + LANE
                yield from self._chunk(parts, (rank, chunk), x, y, (rank, chunk) in arrived)
        for message in step.messages:
            for chunk in message.chunks:
                yield self._arrow(message, chunk, cells + chunk * self.column, top + PANEL_HEAD)

    def _chunk(self, parts: frozenset[int], at: tuple[int, int], x: float, y: float, arrived: bool) -> Iterator[str]:
        width, height = self.slot * self.ranks, ROW - 6
        yield element("rect", x=x, y=y, width=width, height=height, fill=palette.LANE)
        for rank in sorted(parts):
            slot = {"x": x + rank * self.slot, "y": y, "width": self.slot, "height": height}
            yield element("rect", fill=rank_fill(rank), **slot)
        edge = {"stroke": STRONG if arrived else palette.QUIET_INK, "stroke_width": 2.2 if arrived else 0.6}
        tip = f"rank {at[0]}, chunk {at[1]}: {_said(parts, self.ranks)}"
        box = {"x": x, "y": y, "width": width, "height": height, "fill": "none", "pointer_events": "all"}
        yield element("rect", element("title", words(tip)), rx=2, **box, **edge)
        shown = _parts(parts, self.ranks)
        whole = {"font_weight": 700} if len(parts) == self.ranks else {}
        middle = x + width / 2
        yield text(
            shown, middle, y + height / 2 + 3.5, text_anchor="middle", font_size=9.5, pointer_events="none", **whole
        )

    def _arrow(self, message: Message, chunk: int, x: float, top: float) -> str:
        """Draw an arrow from the sender's chunk through the lane on its left to the receiver's chunk."""
        lane, edge = x + 3.5, x + LANE
        nudge = 4 if message.dst > message.src else -4  # separates incoming from outgoing
        start, end = ((top + rank * ROW + (ROW - 6) / 2) for rank in (message.src, message.dst))
        return arrow(
            [(edge, start + nudge), (lane, start + nudge), (lane, end - nudge), (edge, end - nudge)], stroke=STRONG
        )

    def _described(self) -> str:
        return "\n".join([f"{self.name} on {self.ranks} ranks, {len(self.steps)} steps", *map(self._line, self.steps)])

    def _line(self, step: Step) -> str:
        sent = "; ".join(self._message(step, message) for message in step.messages)
        return f"step {step.number + 1}, {_plain(step.phase)}: {sent}"

    def _message(self, step: Step, message: Message) -> str:
        every = len(message.chunks) == self.chunks > 1
        plural = "s" if len(message.chunks) > 1 else ""
        named = "all chunks" if every else f"chunk{plural} {', '.join(map(str, message.chunks))}"
        held = step.holds[message.dst][message.chunks[0]]
        return f"{message.src}→{message.dst} {named} (then {_said(held, self.ranks)})"


def _parts(parts: frozenset[int], ranks: int) -> str:
    """"0+1+2" for up to four ranks, beyond that their number; "all" when complete."""  # fmt: skip
    if len(parts) == ranks:
        return "all"
    if ranks <= MOST_NAMED:
        return "+".join(map(str, sorted(parts)))
    return str(len(parts)) if parts else ""


def _said(parts: frozenset[int], ranks: int) -> str:
    if not parts:
        return "empty"
    return "complete" if len(parts) == ranks else "+".join(map(str, sorted(parts)))


def _plain(phase: str) -> str:
    """"reduce_scatter in node" → "reduce-scatter in node"."""  # fmt: skip
    return phase.replace("_", "-")


def _heading(phase: str, steps: Sequence[Step]) -> str:
    what = "the receiver adds what arrives" if steps[0].adds else "the receiver keeps what arrives"
    return f"{_plain(phase)}: {what}"
