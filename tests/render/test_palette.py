"""Contrast, as WCAG 2 computes it, of what pictures really show: in the light and in the dark."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lab_utils.render import palette
from lab_utils.render.collective import before_after
from lab_utils.render.palette import CARD, DARK, INK, LANE, PAINTS, QUIET_INK, STRONG, WHITE, darkened

LABS = Path(__file__).parents[2] / "labs"
EXTENSION = LABS.parent / "lab_utils/jupyter/labextensions/parallel-training-lab/static/still.js"
SVG = "{http://www.w3.org/2000/svg}"
WORDS, MARKS = 4.5, 3.0  # least contrast of text, and of marks, with what they stand on
COLOUR = re.compile('"#[0-9a-f]{6}"')
BOX = re.compile(r"M([-\d.]+) ([-\d.]+)h([\d.]+)v([\d.]+)h-[\d.]+z")

# What tells a mark from its ground: the better of its ground and its pattern, or its edge.
MARKS_ON = [
    *((LANE, {look.fill, look.pattern_ink}) for look in PAINTS.values()),
    (LANE, {palette.MEMORY}), (LANE, {palette.THREAD}), (LANE, {INK}),
    *((CARD, {look.stroke}) for look in palette.SERIES), (CARD, {palette.BLUE}), (CARD, {STRONG}), (LANE, {STRONG}),
    *((palette.WHOLE, {ink}) for ink, _ in palette.TENSORS.values()), (palette.WHOLE, {palette.OUTLINE}),
    *((tint, {ink}) for ink, tint in palette.TENSORS.values()),
    (palette.REDUCED.fill, {palette.REDUCED.pattern_ink}), (CARD, {palette.COLORS["control"]}),
    (CARD, {palette.UNJUDGED}), (CARD, {palette.AGREES}),
]  # fmt: skip
# Words in HTML and on canvases, which no stored picture shows.
WORDS_ON = [
    *((look.ink, look.fill) for look in PAINTS.values()), *product((INK, QUIET_INK, STRONG), (CARD, WHITE)),
    (INK, LANE), (QUIET_INK, LANE), (STRONG, LANE), (WHITE, palette.BLUE), (WHITE, STRONG),
    *((INK, tint) for tint in (*palette.PHASES, *palette.RANKS)),
]  # fmt: skip


def luminance(colour: str) -> float:
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_computed_as_wcag_does() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("themed", [str, darkened], ids=["light", "dark"])
def test_words_and_marks_are_seen_in_both_themes(themed) -> None:
    faint = [(ink, on) for ink, on in WORDS_ON if contrast(themed(ink), themed(on)) < WORDS]
    faint += [(inks, on) for on, inks in MARKS_ON if max(contrast(themed(ink), themed(on)) for ink in inks) < MARKS]
    assert faint == []


def test_the_labs_extension_has_the_same_table() -> None:
    """It colours still pictures in JupyterLab, without a kernel to ask."""
    table = re.search(r"const DARK = \{(.*?)\};", EXTENSION.read_text(encoding="utf-8"), re.DOTALL)[1]
    assert dict(re.findall(r'"(#[0-9a-f]{6})": "(#[0-9a-f]{6})"', table)) == DARK


def test_colours_are_named_in_the_palette_alone_and_once() -> None:
    room = LABS.parent / "lab_utils"
    elsewhere = {path.name for path in room.rglob("*.py") if COLOUR.search(path.read_text(encoding="utf-8"))}
    assert elsewhere == {"palette.py"}
    light = (room / "render/palette.py").read_text(encoding="utf-8").partition("# Every colour of a picture")[0]
    names = re.findall(r"^[A-Z_, ]+ = .*$", light, re.MULTILINE)
    named = COLOUR.findall("\n".join(names))
    assert len(named) > 10 and len(named) == len(set(named))


def test_styles_use_variables_that_the_palette_sets() -> None:
    """Another one has no colour, and nothing says so."""
    styles = [path.read_text(encoding="utf-8") for path in (LABS.parent / "lab_utils/widgets").rglob("*.css")]
    used = set(re.findall(r"var\(--lab-([\w-]+)\)", "".join(styles)))
    assert len(used) > 5 and used <= palette.COLORS.keys()


def test_dark_colours_are_as_many_as_light_ones() -> None:
    assert len(set(DARK.values())) == len(DARK)
    used = json.dumps([palette.COLORS, [vars(look) for look in PAINTS.values()], palette.TENSORS])
    assert {*re.findall("#[0-9a-f]{6}", used), *palette.PHASES, *palette.RANKS} <= DARK.keys()


class Words:
    """One text of a picture, where it stands, and the colour that is drawn last below it."""

    def __init__(self, node: ElementTree.Element, x: float, y: float, ink: str, grounds: list[tuple]) -> None:
        size, anchor = float(node.get("font-size", 11)), node.get("text-anchor", "start")
        half = 0.25 * size * len(node.text)
        self.said, self.ink = node.text, ink
        middle = x + float(node.get("x", 0)) + {"start": half, "middle": 0.0, "end": -half}[anchor]
        height = y + float(node.get("y", 0)) - 0.35 * size
        self.ground = [fill for (x0, y0, x1, y1), fill in grounds if x0 <= middle <= x1 and y0 <= height <= y1][-1]


def words_of(svg: str) -> Iterator[Words]:
    """Every text of the picture but marks of series, which are shapes."""
    root, grounds = ElementTree.fromstring(svg), []

    def walk(node: ElementTree.Element, x: float, y: float, inherited: str) -> Iterator[Words]:
        moved = re.match(r"translate\(([-\d.]+) ([-\d.]+)\)", node.get("transform", ""))
        x, y = (x + float(moved[1]), y + float(moved[2])) if moved else (x, y)
        ink = node.get("fill", inherited)
        if node.tag == f"{SVG}text" and "rotate" not in node.get("transform", "") and node.text not in "●▲■◆▼★":
            yield Words(node, x, y, ink, grounds)
        if node.tag == f"{SVG}rect" and ink not in ("transparent", "none") and node.get("width"):
            left, top = x + float(node.get("x", 0)), y + float(node.get("y", 0))
            right, bottom = left + float(node.get("width")), top + float(node.get("height"))
            grounds.append(((left, top, right, bottom), ink))
        if node.tag == f"{SVG}path" and ink != "none":
            boxes = (map(float, box) for box in BOX.findall(node.get("d")))
            grounds.extend(((x + a, y + b, x + a + w, y + b + h), ink) for a, b, w, h in boxes)
        if node.tag not in (f"{SVG}defs", f"{SVG}text"):
            for child in node:
                yield from walk(child, x, y, ink)

    return walk(root, 0.0, 0.0, "#000000")


def stored() -> Iterator[str]:
    """The pictures of all chapters: each kind is among them."""
    for path in sorted(LABS.glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", ()):
                if "image/svg+xml" in output.get("data", ()):
                    yield "".join(output["data"]["image/svg+xml"])


def test_every_word_of_the_chapters_pictures_is_legible_in_both_themes() -> None:
    """And none stands on a pattern: its ground would be one of url(#…), which has no contrast."""
    found = {(words.ink, words.ground): words.said for svg in stored() for words in words_of(svg)}
    assert len(found) > 15  # inks and grounds: they are really found
    patterned = {said for (_, ground), said in found.items() if ground.startswith("url")}
    assert patterned == set()
    for themed in (str, darkened):
        faint = {pair: said for pair, said in found.items() if contrast(*map(themed, pair)) < WORDS}
        assert faint == {}


def test_every_colour_of_the_chapters_pictures_has_one_in_the_dark() -> None:
    found = {colour for svg in stored() for colour in re.findall('(?:fill|stroke)="(#[^"]*)"', svg)}
    assert found <= DARK.keys()


def test_a_word_on_a_pattern_would_be_found() -> None:
    reduced = before_after("all_reduce", [([1.5], [4.0]), ([2.5], [4.0])]).svg
    assert {words.ground for words in words_of(reduced) if words.said == "4"} == {palette.REDUCED.fill}
    bare = re.sub(r'<rect [^>]*pointer-events="none"[^>]*/>(?=<text)', "", reduced)
    assert any(words.ground.startswith("url") for words in words_of(bare) if words.said == "4")
