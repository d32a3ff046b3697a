"""Draw a recorded collective: a panel per round for use without a kernel, one large panel to play."""

from __future__ import annotations

from collections.abc import Iterator

from lab_utils.render import palette
from lab_utils.render.kit import MARGIN, TITLE, Picture, card, element, short, text, text_width, wrapped
from lab_utils.widgets.collective_steps import words
from lab_utils.widgets.collective_steps.picture_grid import LARGE, LARGE_MANY, SMALL, SMALL_MANY, Grid
from lab_utils.widgets.collective_steps.rounds import ChunkRounds
from lab_utils.widgets.collective_steps.sentences import (
    MOST_NAMED,
    described,
    effect_said,
    headline,
    results_said,
    round_said,
    wrong_said,
)

WIDTH, GAP, HEAD, LINE = 940.0, 22.0, 60.0, 17.0


def collective_panels(title: str, rounds: ChunkRounds, hover: bool = True) -> Picture:
    """Draw what every rank holds of every chunk, before the first round and after each, with the messages.

    >>> collective_panels("my ring", ChunkRounds.of(trace, trace.results))
    """
    size = SMALL if rounds.world_size <= MOST_NAMED else SMALL_MANY
    first = Grid(rounds, size, MARGIN, TITLE + HEAD, WIDTH - 2 * MARGIN)
    panel = max(first.width, 190.0)
    across = max(1, int((WIDTH - 2 * MARGIN + GAP) // (panel + GAP)))
    body, height = [], HEAD + first.height + 10
    for k in range(len(rounds.holds)):
        row, column = divmod(k, across)
        left, top = MARGIN + column * (panel + GAP), TITLE + row * height
        grid = Grid(rounds, size, left, top + HEAD, WIDTH - 2 * MARGIN)
        body.append(element("g", *_panel(grid, k, left, top, hover), data_round=str(k)))
    bottom = TITLE + -(-len(rounds.holds) // across) * height
    below = [*_below(rounds)]
    body += [text(line, MARGIN, bottom + 14 + LINE * at, fill=fill) for at, (line, fill) in enumerate(below)]
    lines = [text_width(line, 11) for line, _ in below] + [text_width(headline(rounds), 11)]
    width = max(min(across, len(rounds.holds)) * (panel + GAP) - GAP, *lines) + 2 * MARGIN
    total = bottom + LINE * len(below) + 14
    return card(title, headline(rounds), body, width, total, described=described(title, rounds))


def _panel(grid: Grid, k: int, left: float, top: float, hover: bool) -> Iterator[str]:
    head = words.ROUND_HEAD.format(round=k, effect=effect_said(grid.rounds, k)) if k else words.BEFORE
    yield text(head, left, top + 22, font_weight=600)
    yield text(round_said(grid.rounds, k), left, top + 36, fill=palette.QUIET_INK)
    yield from grid.names()
    yield from grid.cells(k, hover)
    yield from grid.arrows(k, hover)


def _below(rounds: ChunkRounds) -> Iterator[tuple[str, str]]:
    yield words.LEGEND, palette.QUIET_INK
    first = next((number for number, mixed in enumerate(rounds.mixed) if any(mixed)), 0)
    for number in sorted({first, len(rounds.sent)}):
        for line in wrong_said(rounds, number):
            yield words.AFTER_ROUND.format(round=number, wrong=line), palette.INK
    yield from ((line, palette.INK) for line in results_said(rounds))


class LargePanel:
    """One large panel in the state before the first round, with all slots and the hidden arrows of all rounds."""

    def __init__(self, title: str, rounds: ChunkRounds, width: float = WIDTH) -> None:
        self.title, self.rounds, self.width = title, rounds, width
        size = LARGE if rounds.world_size <= MOST_NAMED else LARGE_MANY
        self.grid = Grid(rounds, size, MARGIN, TITLE + 26, width - 2 * MARGIN)

    def picture(self) -> Picture:
        grid, last = self.grid, len(self.rounds.sent)
        body = [*grid.names(), element("g", *grid.every_cell())]
        body += [
            element("g", *grid.arrows(k, hover=True, reach=9), data_arrows=str(k), visibility="hidden")
            for k in range(1, last + 1)
        ]
        bottom = grid.top + grid.height
        lines = wrapped(words.LEGEND, self.width - 2 * MARGIN, 11)
        for line in lines:
            body.append(text(line, MARGIN, bottom + 10, fill=palette.QUIET_INK))
            bottom += LINE
        head = short(headline(self.rounds), self.width - 2 * MARGIN, 11)
        width = max(grid.width, *(text_width(line, 11) for line in [head, *lines])) + 2 * MARGIN
        said = described(self.title, self.rounds)
        return card(self.title, head, body, min(width, self.width), bottom + 24 - LINE, described=said)
