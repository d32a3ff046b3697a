"""Counting never ends a program, and changes no number of it, whatever its tensors are."""

from __future__ import annotations

import pytest
import uncommon_tensors
from gloo_world import in_a_gloo_world

from lab_utils.ranks import Ranks


@pytest.fixture(scope="module")
def plain(ranks2: Ranks, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    store = str(tmp_path_factory.mktemp("gloo") / "store")
    got = in_a_gloo_world(ranks2, store, [("uncommon_tensors", "all_of_them")])
    return [of_rank["all_of_them"] for of_rank in got]


def test_a_counted_recording_gives_what_gloo_gives(ranks2: Ranks, plain: list[dict[str, object]]) -> None:
    trace = ranks2.record(uncommon_tensors.all_of_them)
    assert trace.results == plain
    uncounted = sum(op.uncounted for op in trace)
    assert uncounted > 0
    assert str(trace).splitlines()[-1] == f"Not counted: {uncounted} kernels"


def test_a_sparse_tensor_has_the_bytes_that_it_holds(ranks2: Ranks) -> None:
    trace = ranks2.record(uncommon_tensors.sparse_all_reduce)
    assert [op.bytes for op in trace if op.name == "all_reduce"] == [2 * 8 + 2 * 4] * 2
