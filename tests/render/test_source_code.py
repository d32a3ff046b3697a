"""Source code as a notebook shows it."""

from __future__ import annotations

import re

import nbformat
import pytest
from nbconvert import HTMLExporter

from lab_utils.render import source


def test_a_method_and_a_table_come_without_their_surroundings() -> None:
    method = repr(source("lab_utils.strategies.data.buckets.overlapped", "Buckets._fill"))
    assert method.startswith("def _fill(self, bucket: Bucket) -> None:\n    ") and "\n    while " in method
    table = repr(source("lab_utils.strategies.data.compared.strategies", "CONTENDERS"))
    assert table.startswith("CONTENDERS: dict") and table.endswith("}")
    both = repr(source("lab_utils.strategies.data.buckets.overlapped", "mean", "MB"))
    assert both.startswith("def mean(") and both.endswith("\n\n\nMB = 2**20")


def test_a_whole_module_is_its_functions_and_classes() -> None:
    shown = repr(source("lab_utils.render.source_code"))
    assert shown.startswith("class Source:") and "\n\n\ndef source(" in shown and "DEFINITIONS =" not in shown


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(ValueError, match="has no Buckets.fill; it has current_backward, Pending, mean, Buckets"):
        source("lab_utils.strategies.data.buckets.overlapped", "Buckets.fill")
    with pytest.raises(ValueError, match="there is no module lab_utils.nothing"):
        source("lab_utils.nothing", "x")


def test_code_is_fixed_width_on_a_page_that_nbconvert_made() -> None:
    """Its styles let `pre` inherit the font of the output, which is proportional in Markdown but not in plain text."""
    shown = source("lab_utils.render.source_code", "source")
    output = nbformat.v4.new_output("display_data", {"text/markdown": shown._repr_markdown_()})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])
    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert re.search(r"\.jp-RenderedText \{[^}]*font-family: var\(--jp-code-font-family\)", page)
    assert re.search(r'<div class="jp-RenderedText">\s*<div class="highlight"><pre>.*<span class="nf">source', page)
