"""A mesh as a picture: a row for each axis, in which ranks of one group have one colour and the group's number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lab_utils.render import palette
from lab_utils.render.kit import MARGIN, TITLE, Picture, card, element, text, tip
from lab_utils.text import counted, name_ranks

WIDTH, CELL, ROW, LABEL = 720, 30, 40, 130
MOST, LISTED = 64, 16  # ranks that are drawn; groups of an axis that words list

Groups = tuple[tuple[int, ...], ...]


def draw(title: str, ranks: int, rows: Mapping[str, Groups]) -> Picture:
    """Draw the groups along each axis of `rows`, {axis: its groups}; words count those that are left out."""
    drawn = min(ranks, MOST)
    cell = min(CELL, (WIDTH - 2 * MARGIN - LABEL) / drawn)
    body = [*_ranks(drawn, cell, TITLE + 12)]
    for at, (axis, groups) in enumerate(rows.items()):
        body += _row(axis, groups, drawn, cell, TITLE + 22 + at * ROW)
    more = f", of which the first {drawn} are drawn" if drawn < ranks else ""
    subtitle = "a rank's group along each axis: the same colour and number, one group"
    described = "\n".join([f"{title}{more}", *(_line(axis, groups) for axis, groups in rows.items())])
    return card(f"{title}{more}", subtitle, body, WIDTH, TITLE + 34 + len(rows) * ROW, described=described)


def _ranks(drawn: int, cell: float, base: float) -> Iterator[str]:
    yield text("rank", MARGIN, base, fill=palette.QUIET_INK)
    size = 11 if cell >= 18 else 6
    for rank in range(drawn):
        at = MARGIN + LABEL + (rank + 0.5) * cell
        yield text(str(rank), at, base, text_anchor="middle", font_size=size, fill=palette.QUIET_INK)


def _row(axis: str, groups: Groups, drawn: int, cell: float, top: float) -> Iterator[str]:
    middle = top + CELL / 2 + 4
    yield text(axis, MARGIN, middle, font_weight=600)
    yield text(f"{counted(len(groups), 'group')} of {len(groups[0])}", MARGIN + 32, middle, fill=palette.QUIET_INK)
    for number, members in enumerate(groups):
        for rank in members:
            if rank >= drawn:
                continue
            x = MARGIN + LABEL + rank * cell
            said = tip(f"{axis}: rank {rank} is in group {number}, {name_ranks(members)}", hover=False)
            yield element(
                "rect", *said, x=x + 0.5, y=top, width=cell - 1, height=CELL, rx=min(4, cell / 4),
                fill=palette.rank_fill(number),
            )  # fmt: skip
            if cell >= 12:
                yield text(str(number), x + cell / 2, middle, text_anchor="middle")


def _line(axis: str, groups: Groups) -> str:
    listed = "; ".join(map(name_ranks, groups[:LISTED]))
    more = f" and {len(groups) - LISTED} more" if len(groups) > LISTED else ""
    return f"{axis}: {counted(len(groups), 'group')} of {len(groups[0])}: {listed}{more}"
