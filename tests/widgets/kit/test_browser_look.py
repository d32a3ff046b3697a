"""One look for all widgets, cards and still pictures, in a real browser: by Axe, in the dark, and in narrow windows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from axe_page import OURS, violations, violations_of_notebook
from browser_page import Lab, run_cell, run_every_cell, set_theme
from card_samples import CELLS, START
from playwright.sync_api import Browser, Page, expect
from timeline_samples import ddp
from widget_page import show_timeline

from lab_utils.render.palette import CARD, DARK
from lab_utils.timeline.hardware import catalogue
from lab_utils.widgets import TimelineView

pytest_plugins = ["browser_fixtures"]
STILL = """from lab_utils.render import loss_curve
from IPython.display import SVG, display
display(loss_curve({"run": [3.0, 2.0, 1.0]}))
SVG('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 40"><rect width="9" height="9" fill="#fcfcfa"/></svg>')"""
ODD = ["<p id='title'>named</p>", "<p aria-describedby='title'>by another</p>", "<button></button>"]
# How many parts of a card can have the focus, and those whose ring is cut where something around them cuts.
CLIPPED = """card => {
    const parts = "button, input, select, summary, textarea, [tabindex]:not([tabindex='-1'])";
    const nodes = [card, ...card.querySelectorAll(parts)].filter((node) => node.matches(parts) && !node.disabled
        && node.checkVisibility());
    const ringed = nodes.map((node) => {
        node.focus({ preventScroll: true });
        const { outlineStyle, outlineWidth, outlineOffset } = getComputedStyle(node);
        const out = outlineStyle === "none" ? 0 : parseFloat(outlineWidth) + parseFloat(outlineOffset);
        const { left, top, right, bottom } = node.getBoundingClientRect();
        const cuts = [];
        for (let around = node.parentElement; !around.matches(".jp-Cell"); around = around.parentElement) {
            const style = getComputedStyle(around), box = around.getBoundingClientRect();
            const acrossIt = around.scrollWidth <= around.clientWidth
                && (left - out < box.left - 0.5 || right + out > box.right + 0.5);
            const upOrDown = top - out < box.top - 0.5 || bottom + out > box.bottom + 0.5;
            if (style.overflowX !== "visible" && acrossIt || style.overflowY !== "visible" && upOrDown)
                cuts.push(`${node.outerHTML.slice(0, 90)} by ${around.className}: ${out}`);
        }
        return { ring: outlineStyle !== "none", cuts };
    });
    return [ringed.filter((one) => one.ring).length, ringed.flatMap((one) => one.cuts)];
}"""
# Numbers that stand on two lines.
BROKEN = """numbers => numbers.filter((one) => {
    const range = document.createRange();
    range.selectNodeContents(one);
    return new Set([...range.getClientRects()].map((box) => box.top)).size > 1;
}).map((one) => one.textContent)"""
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
        assert card.locator(".lab-tl-numbers td").evaluate_all(BROKEN) == []
        if card.locator("svg text").count():
            assert card.evaluate(SMALLEST) > 8.4  # as it is drawn


def test_what_has_the_focus_shows_all_of_its_ring(samples: Page) -> None:
    samples.set_viewport_size({"width": 1400, "height": 1400})
    samples.locator(".lab-card").first.click(position={"x": 3, "y": 3})
    samples.keyboard.press("Tab")  # from now on the focus is shown, as to a person with a keyboard
    found = [card.evaluate(CLIPPED) for card in samples.locator(".lab-card").all()]
    assert sum(ringed for ringed, _ in found) > 40
    assert [cut for _, cuts in found for cut in cuts] == []


def test_a_hardwares_sliders_keep_their_words_apart_at_every_width(page: Page) -> None:
    """Of two links: the long "bandwidth between nodes" is beside "50.0 GB/s", or above it."""
    cluster = replace(catalogue["H100 cluster"], device=None)
    show_timeline(page, TimelineView(ddp(4).timeline(cluster)))
    card = page.locator(".lab-card")
    for width in range(1400, 580, -40):
        page.set_viewport_size({"width": width, "height": 900})
        expect(card.get_by_text("50.0 GB/s")).to_be_visible()
        assert card.evaluate(OVERLAPS) == []
        assert card.evaluate("card => card.scrollWidth <= card.clientWidth")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_in_widgets_and_cards(samples: Page, dark: bool) -> None:
    samples.set_viewport_size({"width": 1400, "height": 1400})
    if dark:
        set_theme(samples, dark)
    assert violations(samples) == []


def test_axe_finds_nothing_in_nbconverts_page_of_them(samples: Page, lab: Lab, browser: Browser) -> None:
    """Without a kernel, as stored: every widget is its still picture there."""
    with samples.expect_response(lambda answer: answer.request.method == "PUT" and "samples.ipynb" in answer.url):
        samples.keyboard.press("Control+s")
    with browser.new_page() as page:
        assert violations_of_notebook(page, lab.labs / "samples.ipynb") == []
        assert page.locator(OURS).count()


def test_axe_would_find_a_button_without_a_name_and_an_id_of_another_output(browser: Browser, tmp_path: Path) -> None:
    outputs = [nbformat.v4.new_output("display_data", {"text/html": html}) for html in ODD]
    cells = [nbformat.v4.new_code_cell("", outputs=[output]) for output in outputs]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "odd.ipynb")
    with browser.new_page() as page:
        found = [each.partition(":")[0] for each in violations_of_notebook(page, tmp_path / "odd.ipynb")]
        assert found == ["an id of another output", "button-name"]
        assert [each.partition(":")[0] for each in violations(page)] == ["button-name"]


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
