"""Run torch's own DistributedTest on gloo, and write what became of each test.

torch ships these tests without the file that starts them. Here their ranks are forked from a process that has loaded
torch, where that is safe: to load it again in each rank of each test would take most of the time.

    python torch_suite_program.py RESULTS.json RANKS [NAME ...]
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
import time
import unittest
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":  # before they are loaded, which choose by these
    os.environ.update({"BACKEND": "gloo", "WORLD_SIZE": sys.argv[2], "OMP_NUM_THREADS": "1", "INIT_METHOD": "file://"})

import torch.distributed as dist  # noqa: E402
from torch.testing._internal.distributed import distributed_test as torchs  # noqa: E402

START = "fork" if sys.platform == "linux" else "spawn"
KINDS = "TORCH_SUITE_KINDS"  # the folder in which ranks write which groups they have


class OnGloo(torchs.TestDistBackend, torchs.DistributedTest._DistTestBase):
    """The tests. A rank writes which kinds of groups it has at each barrier: one is before each test, one after it."""

    def setUp(self) -> None:
        super().setUp()
        self._start_processes(multiprocessing.get_context(START).Process)

    @classmethod
    def _run(cls, rank: int, *args, **kwargs) -> None:
        torchs.INIT_METHOD = os.environ["INIT_METHOD"]  # the test's own file, made since they were loaded
        super()._run(rank, *args, **kwargs)

    def _barrier(self, *args, **kwargs) -> None:
        super()._barrier(*args, **kwargs)
        path = Path(os.environ[KINDS], f"{self._current_test_name()}.{self.rank}")
        with path.open("a", encoding="utf-8") as file:
            file.writelines(f"{_kind(group)}\n" for group in dist.distributed_c10d._world.pg_map)


def _kind(group: dist.ProcessGroup) -> str:
    kinds = {f"{kind.__module__}.{kind.__name__}" for kind in type(group).__mro__}
    return "recorded" if "lab_utils.comm.process_group.group.RecordedGroup" in kinds else "plain"


class Results(unittest.TestResult):
    """What became of each test: passed, skipped or failed, why, after how many seconds, and with which groups."""

    def __init__(self, kinds: Path):
        super().__init__()
        self.kinds, self.found = kinds, {}

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._began_s = time.perf_counter()

    def addSuccess(self, test: unittest.TestCase) -> None:
        self._note(test, "passed", "")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self._note(test, "skipped", reason)

    def addFailure(self, test: unittest.TestCase, error: tuple) -> None:
        self._note(test, "failed", self._exc_info_to_string(error, test))

    addError = addFailure  # a rank that raises is an error here, as is one that asserts

    def _note(self, test: unittest.TestCase, became: str, why: str) -> None:
        name = test.id().rpartition(".")[2]
        ranks = sorted(self.kinds.glob(f"{name}.*"))
        self.found[name] = {
            "became": became,
            "why": why,
            "seconds": time.perf_counter() - self._began_s,
            "groups": [sorted(set(path.read_text(encoding="utf-8").split())) for path in ranks],
        }


def main(out: Path, names: Sequence[str]) -> None:
    loader = unittest.TestLoader()
    with tempfile.TemporaryDirectory() as kinds:
        os.environ[KINDS] = kinds
        results = Results(Path(kinds))
        unittest.TestSuite(map(OnGloo, names or loader.getTestCaseNames(OnGloo))).run(results)
    out.write_text(json.dumps(results.found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[3:])
