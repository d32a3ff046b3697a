"""The light card that every picture stands on: its size, its words for screen readers, its ground."""

from __future__ import annotations

from hashlib import sha256

from lab_utils.render import palette
from lab_utils.render.svg import NAME, element, number, words

# JupyterLab shows a picture in a cell as an image, and cuts off what is wider than the cell. Without a size of its
# own it fits itself to the cell; small pictures keep theirs, for they would be blown up.
WIDEST_OF_FIXED_SIZE = 560


def frame(width: float, height: float, about: str, described: str, *inside: str) -> str:
    """`inside` on a card of width × height user units. `about` is its name in words, `described` all of it.

    NAME, which begins the ids in it, becomes a digest of all that is drawn: several pictures can share a page, and
    what no one sees, such as the last digits of a float, changes no id.
    """
    sized = {"width": width, "height": height} if width <= WIDEST_OF_FIXED_SIZE else {}
    ground = element(
        "rect", x=0.5, y=0.5, width=width - 1, height=height - 1, rx=10, fill=palette.CARD, stroke=palette.CARD_EDGE
    )
    svg = element(
        "svg", element("title", words(about), id=f"{NAME}-title"), element("desc", words(described), id=f"{NAME}-desc"),
        ground, *inside, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {number(width)} {number(height)}", **sized,
        role="img", aria_label=about, aria_describedby=f"{NAME}-desc",
        style=f"max-width: min(100%, {number(width)}px); height: auto", font_family=palette.FONT, font_size=11,
        fill=palette.INK,
    )  # fmt: skip
    return svg.replace(NAME, "p" + sha256(svg.encode()).hexdigest()[:8])
