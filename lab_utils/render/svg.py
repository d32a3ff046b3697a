"""SVG as text: elements, numbers that are rounded the same way everywhere, and words that are safe in XML."""

from __future__ import annotations

import re
from html import escape

from lab_utils.render.palette import Look

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# Begins every id inside a picture until `frame` has all that is drawn; of Unicode's private use, so in nobody's words.
NAME = "\ue000"

NARROW, WIDE = frozenset("fijlrtI.,:;'|!·()[] "), frozenset("mwMW@%")


def number(value: float) -> str:
    """At most two decimals, no trailing zeros, no minus zero."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def words(text: str) -> str:
    """`text` as XML content or attribute; characters that XML cannot hold become U+FFFD."""
    return escape(NOT_XML.sub("\ufffd", text), quote=True)


def element(tag: str, *children: str, **attributes: str | float) -> str:
    """One element. Children are SVG already; `stroke_width=1` becomes stroke-width="1", `class_` class."""
    head = tag
    for name, value in attributes.items():
        text = words(value) if isinstance(value, str) else number(value)
        head += f' {name.rstrip("_").replace("_", "-")}="{text}"'
    return f"<{head}>{''.join(children)}</{tag}>" if children else f"<{head}/>"


def text(content: str, x: float, y: float, **attributes: str | float) -> str:
    """Words with their baseline's start (or `text_anchor`) at x, y."""
    return element("text", words(content), x=x, y=y, **attributes)


def tip(said: str, hover: bool = True) -> list[str]:
    """What a mark says when a pointer rests on it, as children for its element; none without `hover`."""
    return [element("title", words(said))] if hover else []


def pattern(name: str, look: Look) -> str:
    """Stripes, rules or dots on the look's ground, to be painted with `url(#name)`."""
    if look.pattern == "stripes":
        size, path = 8, "M-1 9 9 -1M-1 1 1 -1M7 9 9 7"
        over = [element("path", d=path, stroke=look.pattern_ink, stroke_width=1.6)]
    elif look.pattern == "rules":
        size = 6
        over = [element("rect", y=4.6, width=size, height=1.4, fill=look.pattern_ink)]
    else:
        size = 6
        over = [element("circle", cx=at, cy=at, r=0.9, fill=look.pattern_ink) for at in (1.5, 4.5)]
    ground = element("rect", width=size, height=size, fill=look.fill)
    box = {"width": size, "height": size, "patternUnits": "userSpaceOnUse"}
    return element("pattern", ground, *over, id=name, **box)


def text_width(content: str, size: float) -> float:
    """Generous estimate, in user units: the fonts of whoever shows the picture are not known here."""
    return size * sum(_character_width(character) for character in content)


def _character_width(character: str) -> float:
    if character in NARROW:
        return 0.38
    return 1.0 if character in WIDE or ord(character) > 0x2E80 else 0.64
