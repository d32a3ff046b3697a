"""`make images`: the pictures of README.md and docs/, from the pages' own examples, run in JupyterLab in a browser."""

from __future__ import annotations

import base64
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pages
from browser_page import Lab, output, run_cell
from jupyterlab_server import LIMIT_MS, chromium, jupyterlab
from playwright.sync_api import Browser, Locator, Page, expect

IMAGES = pages.ROOT / "docs/images"
README, WIDGETS, TIMELINES = pages.ROOT / "README.md", pages.ROOT / "docs/widgets.md", pages.ROOT / "docs/timelines.md"
# picture: (page, words of the example whose output it shows); the README's is laid out of three outputs
PICTURES = {
    "readme": (README, ""),
    "timeline_view": (TIMELINES, "TimelineView("),
    "gradient_flow": (WIDGETS, "GradientFlow("),
    "shard_map": (WIDGETS, "ShardMap("),
    "collective_steps": (WIDGETS, "CollectiveSteps("),
    "schedule_explorer": (WIDGETS, "ScheduleExplorer("),
}
ROUNDS = {"collective_steps": 2}  # so far a picture is played before it is taken
LAYERS = ["parity(", "TimelineView(", "dist.barrier()"]
# The timeline at the back, cut below its axis; parity in front of its lower edge; the deadlock below.
SHEET = """<!doctype html><style>
  body { margin: 0; background: #fff }
  main { position: relative; width: 1040px; height: 1010px }
  img { position: absolute; background: #fff; border: 1px solid #c8ccd0; border-radius: 8px;
        box-shadow: 0 6px 24px rgb(0 0 0 / 25%) }
  .back { left: 16px; top: 16px; width: 980px; height: 770px; object-fit: cover; object-position: top }
  .front { right: 16px; bottom: 24px; width: 820px }
  .parity { left: 40px; top: 764px }
</style><main><img class="back" src="BACK"><img class="front" src="FRONT"><img class="parity" src="PARITY"></main>"""


@contextmanager
def shown(lab: Lab, page: Path) -> Iterator[tuple[Page, list[str]]]:
    """Run a page's examples as a notebook; gives JupyterLab's page and the cells' code."""
    sources = [cell.source for cell in pages.notebook(page).cells if "ranks.stop()" not in cell.source]
    with lab.notebook(f"{page.stem}_examples.ipynb", *sources) as view:
        for number in range(len(sources)):
            run_cell(view, number)
        prompts = view.locator(".jp-CodeCell .jp-InputPrompt")  # a run of the last cell adds an empty one
        expect(prompts.nth(len(sources) - 1)).to_have_text(re.compile(r"\[\d+\]:"))
        yield view, sources


def card_of(view: Page, sources: list[str], words: str) -> Locator:
    """The last output of the example with these words."""
    (cell,) = [number for number, source in enumerate(sources) if words in source]
    card = output(view, cell).last
    card.scroll_into_view_if_needed()
    view.mouse.move(0, 0)
    view.wait_for_timeout(1000)  # pictures are drawn, and nothing is hovered over
    return card


def taken(view: Page, sources: list[str], name: str) -> bytes:
    card = card_of(view, sources, PICTURES[name][1])
    for _ in range(ROUNDS.get(name, 0)):
        card.get_by_role("slider").press("ArrowRight")
    return card.screenshot()


def layered(browser: Browser, view: Page, sources: list[str]) -> bytes:
    parity, timeline, stuck = (card_of(view, sources, words) for words in LAYERS)
    layers = {"BACK": timeline, "PARITY": parity.locator("> div"), "FRONT": stuck}
    sheet = SHEET
    for name, layer in layers.items():
        sheet = sheet.replace(name, f"data:image/png;base64,{base64.b64encode(layer.screenshot()).decode()}")
    page = browser.new_page(viewport={"width": 1040, "height": 1010})
    page.set_content(sheet)
    return page.locator("main").screenshot()


def make(names: list[str]) -> None:
    """Make these pictures anew."""
    expect.set_options(timeout=LIMIT_MS)
    with chromium() as browser, tempfile.TemporaryDirectory() as folder, jupyterlab(Path(folder)) as address:
        lab = Lab(address, Path(folder), browser)
        for page in dict.fromkeys(PICTURES[name][0] for name in names):
            with shown(lab, page) as (view, sources):
                for name in (name for name in names if PICTURES[name][0] == page):
                    words = PICTURES[name][1]
                    picture = taken(view, sources, name) if words else layered(browser, view, sources)
                    (IMAGES / f"{name}.png").write_bytes(picture)
                    print(f"docs/images/{name}.png: {len(picture) / 1e3:.0f} kB")


if __name__ == "__main__":
    if unknown := set(sys.argv[1:]) - set(PICTURES):
        sys.exit(f"No picture is called {', '.join(sorted(unknown))}: there are {', '.join(PICTURES)}.")
    make(sys.argv[1:] or list(PICTURES))
