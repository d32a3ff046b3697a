"""A table: text in terminals, HTML with a header row in notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from lab_utils.render.palette import FONT, THEME_CARD, THEME_EDGE, THEME_INK, THEME_QUIET_INK
from lab_utils.text import columns


@dataclass(frozen=True)
class Table:
    """A table of formatted cells: row names in the first column, numbers in the others.

    >>> Table(["strategy", "bytes"], [["ring", "6 kB"], ["tree", "8 kB"]])

    ValueError if a row and the header differ in length.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __post_init__(self) -> None:
        if odd := next((row for row in self.rows if len(row) != len(self.header)), None):
            raise ValueError(f"a row has {len(odd)} cells where the header has {len(self.header)}: {', '.join(odd)}")

    def __repr__(self) -> str:
        return "\n".join(columns([self.header, *self.rows], others=str.rjust))

    def _repr_html_(self) -> str:
        card = f"background:{THEME_CARD};border:1px solid {THEME_EDGE};color:{THEME_INK};font-family:{escape(FONT)}"
        head = "".join(_cell("th", text, column, f"color:{THEME_QUIET_INK}") for column, text in enumerate(self.header))
        body = "".join(
            "<tr>" + "".join(_cell("td" if column else "th", text, column) for column, text in enumerate(row)) + "</tr>"
            for row in self.rows
        )
        return (
            f'<div style="overflow-x:auto"><table style="{card};border-collapse:collapse;font-size:13px">'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )


def _cell(tag: str, text: str, column: int, style: str = "") -> str:
    """Return a cell; row names and the header have a scope."""
    align = "left" if column == 0 else "right"
    scope = "" if tag == "td" else f' scope="{"row" if column == 0 and not style else "col"}"'
    look = f"padding:3px 10px;text-align:{align};background:{THEME_CARD};color:{THEME_INK};font-weight:normal;{style}"
    return f'<{tag}{scope} style="{look}">{escape(text)}</{tag}>'
