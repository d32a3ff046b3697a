"""Counting needs no compiler, and refuses one that is loaded meanwhile. In a process that has loaded none."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys, torch
from lab_utils.comm.recorder.kernel_counter import KernelCounter, counting

counter = KernelCounter()
with counting(counter):
    torch.ones(2) + 1
print(counter.take().kernels > 0, "torch._dynamo" in sys.modules)
double = torch.compile(lambda x: 2 * x, backend="eager")
try:
    with counting(KernelCounter()):
        import torch._dynamo
        double(torch.ones(2))
except RuntimeError as error:
    print(str(error)[:28], "torch._dynamo" in sys.modules)
print(double(torch.ones(2)).tolist(), len([each for each in sys.meta_path if type(each).__name__ == "_WhenLoaded"]))
"""


def test_the_compiler_is_refused_when_it_comes_and_not_fetched_for_it() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    lines = ["True False", "the recording counts kernels True", "[2.0, 2.0] 0"]
    assert done.stdout.splitlines() == lines
