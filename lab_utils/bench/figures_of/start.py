"""Time to start the ranks."""

from __future__ import annotations

from collections.abc import Iterator

from lab_utils.bench.figures import RATIO, Sample, at_most, figure
from lab_utils.bench.programs import READY, seconds_until_ready

IMPORT_TORCH = f"import torch; {READY}"
LAB = f"""
import sys
from lab_utils import start_ranks
with start_ranks(int(sys.argv[1])):
    {READY}
    sys.stdin.read()
"""
STOCK = f"""
import sys
from lab_utils.ranks.processes.stock import stock_cluster
with stock_cluster(int(sys.argv[1])):
    {READY}
    sys.stdin.read()
"""


@figure(
    "start-stock", "a fresh Python until ipyparallel's Cluster(n=4) has torch on all engines and a gloo group", "s",
    reference="import torch", program=STOCK, ranks=4,
)  # fmt: skip
@figure(
    "start", "a fresh Python until start_ranks(4) returned: torch on all ranks, group formed", "s",
    reference="import torch", target=at_most(3, RATIO), program=LAB, ranks=4,
)  # fmt: skip
def start(program: str, ranks: int) -> Iterator[Sample]:
    reference_s = seconds_until_ready(IMPORT_TORCH)
    yield Sample(seconds_until_ready(program, str(ranks)), reference_s)
