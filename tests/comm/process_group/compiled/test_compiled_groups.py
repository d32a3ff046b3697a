"""What torch.compile makes of a program with groups gives on ours what it gives on plain gloo."""

from __future__ import annotations

import json
from pathlib import Path

import compiled_programs
import pytest
from gloo_world import in_a_gloo_world
from recorded_runs import Recorder, torchrun

from lab_utils.ranks import Ranks


@pytest.fixture(scope="module")
def plain(ranks2: Ranks, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    store = str(tmp_path_factory.mktemp("gloo") / "store")
    return [
        of_rank["all_of_them"] for of_rank in in_a_gloo_world(ranks2, store, [("compiled_programs", "all_of_them")])
    ]


def test_on_the_ranks(ranks2: Ranks, plain: list[dict[str, object]]) -> None:
    assert ranks2.record(compiled_programs.all_of_them, count=False).results == plain


def test_in_a_recorded_program(tmp_path: Path, plain: list[dict[str, object]]) -> None:
    recorder = Recorder(tmp_path)
    status, printed, said = recorder.run(*torchrun(2, "compiled_program.py"), options=["--no-count"])
    assert status == 0, said
    assert json.loads(printed) == plain[0]
    assert {"all_reduce", "all_gather", "reduce_scatter", "broadcast", "send"} <= {op.name for op in recorder.trace()}
