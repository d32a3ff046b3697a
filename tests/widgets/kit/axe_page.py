"""What Axe has against the lab's outputs in a page: JupyterLab's own, or nbconvert's, is not judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from browser_page import nbconverted
from playwright.sync_api import Page

OURS = ".jp-OutputArea-output"
AT_ONCE = 12  # outputs: Axe goes through the whole page for each rule, so a long page is judged in parts
JUDGE = """ours => axe.run({ include: [[ours]] }, { resultTypes: ["violations"] }).then((found) => found.violations)"""
# Leaves nothing but the outputs, `count` of them at a time. What refers to an id needs it in the same output.
IN_PARTS = """async ([ours, count]) => {
    const outputs = [...document.querySelectorAll(ours)].filter((output) => !output.parentElement.closest(ours));
    const strays = outputs.flatMap((output) => [...output.querySelectorAll("[aria-labelledby], [aria-describedby]")]
        .filter((node) => !output.querySelector("#" + CSS.escape(node.getAttribute("aria-labelledby")
            ?? node.getAttribute("aria-describedby")))));
    const found = strays.map((node) => ({ id: "an id of another output", nodes: [{ html: node.outerHTML }] }));
    for (let at = 0; at < outputs.length; at += count) {
        document.body.replaceChildren(...outputs.slice(at, at + count));
        found.push(...(await axe.run({ include: [[ours]] }, { resultTypes: ["violations"] })).violations);
    }
    return found;
}"""


def violations(page: Page) -> list[str]:
    """Return what is wrong with the outputs in JupyterLab's page; all of each is printed."""
    page.evaluate(AXE_SCRIPT)
    return _said(page.evaluate(JUDGE, OURS))


def violations_of_notebook(page: Page, notebook: Path) -> list[str]:
    """Return what is wrong with the outputs of a notebook as nbconvert writes it; the page then shows the last ones."""
    page.goto(nbconverted(notebook).as_uri(), wait_until="domcontentloaded")
    page.evaluate(AXE_SCRIPT)
    return _said(page.evaluate(IN_PARTS, [OURS, AT_ONCE]))


def _said(found: list[dict[str, Any]]) -> list[str]:
    said = [
        f"{each['id']}: {node['html'][:200]} {node.get('failureSummary', '')}"
        for each in found
        for node in each["nodes"]
    ]
    print(*said, sep="\n")
    return said
