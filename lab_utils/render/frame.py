"""The light card that every picture stands on: its size, its words for screen readers, its ground."""

from __future__ import annotations

from lab_utils.render import palette
from lab_utils.render.svg import element, number, words

# JupyterLab shows a picture in a cell as an image, and cuts off what is wider than the cell. Without a size of its
# own it fits itself to the cell; small pictures keep theirs, for they would be blown up.
WIDEST_OF_FIXED_SIZE = 560


def frame(width: float, height: float, about: str, described: str, name: str, *inside: str) -> str:
    """`inside` on a card of width × height user units. `about` is its name in words, `described` all of it.

    `name` begins the ids in it, so that several pictures can share a page.
    """
    sized = {"width": width, "height": height} if width <= WIDEST_OF_FIXED_SIZE else {}
    ground = element(
        "rect", x=0.5, y=0.5, width=width - 1, height=height - 1, rx=10, fill=palette.CARD, stroke=palette.CARD_EDGE
    )
    return element(
        "svg", element("title", words(about), id=f"{name}-title"), element("desc", words(described), id=f"{name}-desc"),
        ground, *inside, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {number(width)} {number(height)}", **sized,
        role="img", aria_label=about, aria_describedby=f"{name}-desc",
        style=f"max-width: min(100%, {number(width)}px); height: auto", font_family=palette.FONT, font_size=11,
        fill=palette.INK,
    )  # fmt: skip
