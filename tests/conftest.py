"""Ranks that tests share: started once per test process, always ended."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab_utils import start_ranks
from lab_utils.ranks import Ranks

GROUP_TIMEOUT_S = 20.0


def _ranks(size: int) -> Iterator[Ranks]:
    with start_ranks(size, timeout_s=GROUP_TIMEOUT_S) as ranks:
        yield ranks


@pytest.fixture(scope="session")
def ranks2() -> Iterator[Ranks]:
    yield from _ranks(2)


@pytest.fixture(scope="session")
def ranks4() -> Iterator[Ranks]:
    yield from _ranks(4)
