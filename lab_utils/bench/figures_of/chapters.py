"""Run time of each chapter, including the start of its kernel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lab_utils.bench.figures import Sample, at_most, figure
from lab_utils.bench.timed import READY, seconds_until_ready

LABS = Path(__file__).parents[3] / "labs"
# Seconds on two idle cores. Their sum is the budget of `make notebooks`, which runs two at once, within the 15 minutes
# of `make test`: add an entry for each new chapter.
BUDGET_S = {
    "00_ranks": 20,
    "00b_stuck": 25,
    "01_data": 40,
    "01b_data_training": 40,
    "01c_data_memory": 40,
    "01d_data_server": 40,
    "01e_data_wire": 40,
    "01f_data_compared": 50,
    "02_model": 60,
    "03_pipeline": 40,
    "03b_pipeline_schedules": 50,
    "04_hybrid": 60,
}
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
    """Run one notebook. RuntimeError when a cell raises."""
    yield Sample(seconds_until_ready(EXECUTE, str(path), str(path.parent)))


def register(labs: Path = LABS) -> None:
    """Register one figure per notebook in the folder."""
    for path in sorted(labs.glob("*.ipynb")):
        about = f"labs/{path.name} from top to bottom"
        budget = at_most(BUDGET_S.get(path.stem, 60))
        figure(f"chapter-{path.stem}", about, "s", target=budget, rounds=1, path=path)(run_chapter)


register()
