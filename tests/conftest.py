"""Ranks that tests share: started once per test process, always ended."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from scripted_ranks import EVERY_S

from lab_utils import start_ranks
from lab_utils.ranks import Ranks
from lab_utils.widgets import RanksStatus

# A test's time says nothing here: the machine may be busy.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

GROUP_TIMEOUT_S = 20.0


# Files of few and long tests, the longest first: two processes share the files, and one should not be left to the end.
LONG = (
    "bench_figures notebook_leftovers record_ending pipeline comparison recovery kernel_leftovers ranks record_command "
    "leftovers only_who_should algorithms exercises_steps exercises_memory exercises_wire exercises_pipeline_code "
    "schedule_explorer soak_command doctor this_machine failures diagnosis_properties simulate_properties magic"
).split()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {f"test_{name}.py": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def _ranks(size: int) -> Iterator[Ranks]:
    with start_ranks(size, timeout_s=GROUP_TIMEOUT_S) as ranks:
        yield ranks


@pytest.fixture(scope="session")
def ranks2() -> Iterator[Ranks]:
    yield from _ranks(2)


@pytest.fixture(scope="session")
def ranks4() -> Iterator[Ranks]:
    yield from _ranks(4)


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
