"""Ranks that tests share: started once per test process, always ended."""

from __future__ import annotations

import gc
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hangs import ended_if_it_hangs
from hypothesis import settings
from machine import settle
from quick_files import is_quick
from scripted_ranks import EVERY_S

from lab_utils import start_ranks
from lab_utils.ranks import Ranks
from lab_utils.widgets import RanksStatus

settle()

# nbformat's jsonschema would take a second in each process to compile grammars of a format that notebooks do not have.
sys.modules.setdefault("rfc3987_syntax", None)

# A test's time says nothing here: the machine may be busy.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

SHARED_TIMEOUT_S = 20.0  # so long the shared ranks keep the groups that a failure has broken, whose threads spin
GROUP_TIMEOUT_S = 3600.0  # for ranks of a file's own: a test that waits for it hangs, and pytest ends it
FEW_GROUPS = 4
FEW_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 1024  # and no more are allowed: settle() asked for them


# Files of few and long tests, the longest first: two processes share the files, and one should not be left to the end.
LONG = (
    "bench_figures notebook_leftovers record_ending pipeline comparison recovery kernel_leftovers ranks record_command "
    "leftovers only_who_should algorithms exercises_steps exercises_memory exercises_wire exercises_pipeline_code "
    "schedule_explorer soak_command doctor this_machine failures diagnosis_properties simulate_properties magic"
).split()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="leave out what starts processes, but for one start of ranks")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """True leaves the file out, None leaves the answer to others."""
    a_test = collection_path.suffix == ".py" and collection_path.name.startswith("test_")
    if not (a_test and config.getoption("quick")):
        return None
    long = collection_path.stem.removeprefix("test_") in LONG
    return True if long or not is_quick(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {f"test_{name}.py": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    with ended_if_it_hangs(item):
        return (yield)


def pytest_collection_finish() -> None:
    """What is loaded by now stays: looking through 600,000 objects takes each test that does so half a second."""
    gc.collect()
    gc.freeze()


shared: list[Ranks] = []


def _started(size: int) -> Iterator[Ranks]:
    with start_ranks(size, timeout_s=SHARED_TIMEOUT_S) as ranks:
        shared.append(ranks)
        yield ranks
        shared.remove(ranks)


@pytest.fixture(autouse=True)
def open_files() -> Iterator[None]:
    """Where few files may be open (`ulimit -n 256`), a module's tests together would make more groups than fit."""
    yield
    if FEW_FILES:
        for ranks in shared:
            let_go_of_groups(ranks)


@pytest.fixture(scope="session")
def started2() -> Iterator[Ranks]:
    yield from _started(2)


@pytest.fixture(scope="session")
def started4() -> Iterator[Ranks]:
    yield from _started(4)


@pytest.fixture(scope="module")
def ranks2(started2: Ranks) -> Iterator[Ranks]:
    yield started2
    let_go_of_groups(started2)


@pytest.fixture(scope="module")
def ranks4(started4: Ranks) -> Iterator[Ranks]:
    yield started4
    let_go_of_groups(started4)


def let_go_of_groups(ranks: Ranks) -> None:
    """Groups that a module's tests have made would be formed again after every failure in later ones."""

    def count() -> int:  # inside, so that the ranks need not import this module
        """None to let go of (0) where one was lost with a rank: destroying that raises."""
        import torch.distributed as dist

        groups = dist.distributed_c10d._world.pg_map
        return len(groups) * (not any(getattr(group, "lost", False) for group in groups))

    def destroy() -> None:
        import torch.distributed as dist

        dist.destroy_process_group()

    def files() -> float:
        """Return which part of the files that a process may open are open."""
        import os
        import resource

        return len(os.listdir("/dev/fd")) / resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    counts = ranks.run(count)
    if all(counts) and max(counts) > FEW_GROUPS:
        ranks.run(destroy)
    if max(ranks.run(files)) > 0.5:  # under `ulimit -n 256`: a backend has four or more, and a test may keep its group
        ranks.restart()


@pytest.fixture
def own_temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Here, and in the processes started from here, ranks keep their folder in a place of the test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def show() -> Iterator[Callable[..., RanksStatus]]:
    """Makes tables of ranks, which look often; closes them."""
    made: list[RanksStatus] = []

    def make(ranks, every_s: float = EVERY_S) -> RanksStatus:
        made.append(RanksStatus(ranks, every_s))
        return made[-1]

    yield make
    for table in made:
        table.close()
