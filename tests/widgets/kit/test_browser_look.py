"""One look for all widgets, cards and still pictures, in a real browser: by Axe, in the dark, and in narrow windows."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser_page import Lab, run_cell, run_every_cell, set_theme
from card_samples import CELLS, START
from playwright.sync_api import Page, expect

from lab_utils.render.palette import CARD, DARK

pytest_plugins = ["browser_fixtures"]
OURS = ".jp-OutputArea-output"  # JupyterLab's own page is not judged
STILL = """from lab_utils.render import loss_curve
from IPython.display import SVG, display
display(loss_curve({"run": [3.0, 2.0, 1.0]}))
SVG('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 40"><rect width="9" height="9" fill="#fcfcfa"/></svg>')"""
SMALLEST = """card => Math.min(...[...card.querySelectorAll("svg text")].map((words) =>
    parseFloat(getComputedStyle(words).fontSize) * Math.hypot(words.getScreenCTM().a, words.getScreenCTM().b)))"""
# The names of controls and what they stand at: pairs of words that lie on each other.
OVERLAPS = """card => {
    const skipped = "svg, .lab-tl-spoken, select, textarea, [hidden], details:not([open]) > :not(summary)";
    const leaves = [...card.querySelectorAll("*")].filter((node) => !node.closest(skipped) && node.offsetParent
        && [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()));
    const boxes = leaves.map((node) => {
        const range = document.createRange();
        range.selectNodeContents(node);
        return { node, words: node.textContent, box: range.getBoundingClientRect() };
    });
    const apart = (a, b) => a.right <= b.left + 1 || b.right <= a.left + 1
        || a.bottom <= b.top + 2 || b.bottom <= a.top + 2;
    return boxes.flatMap((one, at) => boxes.slice(at + 1).filter((other) => !one.node.contains(other.node)
        && !other.node.contains(one.node) && !apart(one.box, other.box)).map((other) => [one.words, other.words]));
}"""


def violations(page: Page) -> list[str]:
    found = Axe().run(page, context={"include": [[OURS]]}).response["violations"]
    said = [f"{each['id']}: {node['html'][:200]} {node['failureSummary']}" for each in found for node in each["nodes"]]
    print(*said, sep="\n")  # all of each, where it fails
    return said


def test_still_pictures_of_the_lab_follow_the_theme_and_no_others(lab: Lab) -> None:
    """The image is drawn anew as the theme changes; a unit of it is a pixel, however wide the cell is."""
    with lab.notebook("stills.ipynb", STILL, dark=True) as page:
        run_cell(page, 0)
        pictures = page.locator(".jp-RenderedSVG img")
        expect(pictures).to_have_count(2)
        for dark in (True, False):
            if not dark:
                set_theme(page, dark)
            ground = DARK[CARD] if dark else CARD
            expect(pictures.first).to_have_attribute("src", re.compile(f"rect.*%23{ground[1:]}"))
            expect(pictures.last).to_have_attribute("src", re.compile("%23fcfcfa"))
            assert pictures.first.bounding_box()["width"] == 720


@pytest.fixture(scope="module")
def samples(lab: Lab) -> Iterator[Page]:
    with lab.notebook("samples.ipynb", START, *CELLS.values()) as page:
        run_every_cell(page, 1 + len(CELLS))
        expect(page.locator(".lab-card").last).to_be_visible()
        yield page


@pytest.mark.parametrize("width", [1400, 933, 900])
def test_words_keep_their_size_and_lie_on_no_others(samples: Page, width: int) -> None:
    """At 1400 px, at 150 % of it, in a window of 900 px: the picture is another one, or scrolls in its card."""
    samples.set_viewport_size({"width": width, "height": 1400})
    for card in samples.locator(".lab-card").all():
        expect(card).to_be_visible()
        assert card.evaluate(OVERLAPS) == []
        assert card.evaluate("card => card.scrollWidth <= card.clientWidth")
        if card.locator("svg text").count():
            assert card.evaluate(SMALLEST) > 8.4  # as it is drawn


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_in_widgets_and_cards(samples: Page, dark: bool) -> None:
    samples.set_viewport_size({"width": 1400, "height": 1400})
    if dark:
        set_theme(samples, dark)
    assert violations(samples) == []
