"""One cell for each widget, card and still picture of the lab, for a notebook that the sheet and Axe look at."""

from __future__ import annotations

from browser_page import TESTS

START = f"""import sys
sys.path[:0] = {TESTS!r}
from dataclasses import replace
import numpy as np
import chunk_programs, gradient_programs
from shard_samples import sample
from timeline_samples import ddp
from lab_utils import start_ranks
from lab_utils.exercises import check, predict, reveal, solution
from lab_utils.render import bars, before_after, loss_curve, source
from lab_utils.render.table import Table
from lab_utils.schedule import Costs, schedules, simulate
from lab_utils.strategies.parity import parity
from lab_utils.timeline.hardware import catalogue
from lab_utils.widgets import (
    CollectiveSteps, GradientFlow, LiveCurve, RanksStatus, ScheduleExplorer, ShardMap, TimelineView,
)

ranks = start_ranks(2)
# Not counted: what is computed takes as long as measured, the wires are those of the hardware.
trace, (h100, a100) = ddp(4), [replace(catalogue[name], device=None) for name in ("H100 cluster", "A100 node")]
own = [np.array([10.0 * rank + 1, 10.0 * rank + 2]) for rank in range(2)]
said = {{"loss": 1.0, "gradients": {{"w": np.ones(4)}}, "parameters": {{"w": np.ones(4)}}}}
wrong = {{**said, "gradients": {{"w": np.full(4, 4.0)}}}}"""

# name: code. What is a widget, and what has a picture, says its name.
CELLS = {
    "timeline": "TimelineView(trace.timeline(h100), trace.timeline(), [a100])",
    "timeline of a schedule": "simulate(schedules.zb_h1(4, 6), Costs(1.0, 1.0, 1.0, 0.1))",
    "schedule explorer": "ScheduleExplorer(ranks, choice='zb_h1', p=4, m=6, limit=3)",
    "schedule by hand": "ScheduleExplorer(choice='hand', p=2, m=3, moves=[[0, 'F0'], [0, 'F1'], [1, 'F0']])",
    "gradient flow": """recorded = ranks.record(gradient_programs.hooks_of_its_own)
GradientFlow(recorded, [record for record, *_ in recorded.results])""",
    "collective": """ring = ranks.record(chunk_programs.followed, "my ring", 1000)
CollectiveSteps(ring, [log for log, _ in ring.results], "my ring")""",
    "shard map": "ShardMap(sample())",
    "ranks": "RanksStatus(ranks)",
    "live curve": """live = LiveCurve(steps=60)
for step in range(40):
    live.on_report(0, {"step": step, "loss": 5 / (1 + step / 20)})
live""",
    "before and after": 'before_after("all_reduce", [(x, sum(own)) for x in own])',
    "gathered": 'before_after("all_gather", [(x, np.concatenate(own)) for x in own])',
    "bars": 'bars("Bytes sent by each rank", [("ring, rank 0", 6000, 6000), ("tree, rank 0", 8000, 7000)])',
    "loss": """loss_curve({f"run {run}": [5 - run / 3 - step / 20 for step in range(60)] for run in range(6)})""",
    "exercise, wrong": 'check("00.2", 1)',
    "exercise, not yet": 'check("00.2", ...)',
    "prediction": """predict("00.g", 3.0)
reveal("00.g", [4.0])""",
    "solution": 'solution("00.2")',
    "parity": "parity(said, [said, said])",
    "no parity": "parity(said, [said, wrong])",
    "table": 'Table(["strategy", "bytes"], [["ring", "6 kB"], ["tree", "8 kB"]])',
    "status": "ranks.status()",
    "source": 'source("lab_utils.comm.algorithms.ring", "ring_all_reduce")',
}
