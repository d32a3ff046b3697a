"""How long each chapter takes from top to bottom, the start of its kernel included."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lab_utils.bench.figures import Sample, at_most, figure
from lab_utils.bench.programs import READY, seconds_until_ready

LABS = Path(__file__).parents[2] / "labs"
EXECUTE = f"""
import sys
import nbformat
from nbclient import NotebookClient
path, folder = sys.argv[1:]
NotebookClient(
    nbformat.read(path, as_version=4), kernel_name="python3", resources={{"metadata": {{"path": folder}}}}
).execute()
{READY}
"""


def run_chapter(path: Path) -> Iterator[Sample]:
    """RuntimeError when a cell raises."""
    yield Sample(seconds_until_ready(EXECUTE, str(path), str(path.parent)))


def register(labs: Path = LABS) -> None:
    """One figure for each notebook in the folder."""
    for path in sorted(labs.glob("*.ipynb")):
        about = f"labs/{path.name} from top to bottom"
        figure(f"chapter-{path.stem}", about, "s", target=at_most(60), rounds=1, path=path)(run_chapter)


register()
