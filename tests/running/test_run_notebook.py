from pathlib import Path

import nbformat
from kernels import run_notebook

IN_PARTS = """import sys
for text, stream in (("one, ", sys.stdout), ("two", sys.stdout), ("careful", sys.stderr), ("three", sys.stdout)):
    print(text, end="", file=stream, flush=True)"""


def test_a_stream_that_comes_in_parts_is_one_output(tmp_path: Path) -> None:
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(IN_PARTS)])
    run_notebook(node, tmp_path, timeout_s=60)
    said = [(output.name, output.text) for output in node.cells[0].outputs]
    assert said == [("stdout", "one, two"), ("stderr", "careful"), ("stdout", "three")]
