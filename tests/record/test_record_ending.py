"""`lab_utils record`: what ranks did is kept however they end, and their signals do what they did before."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
from recorded_runs import ENDING, NO_GRACE, Recorder

from lab_utils.timeline import Trace


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path)


def test_a_rank_that_exits_after_a_fork_leaves_its_ops_once(recorder: Recorder) -> None:
    assert recorder.ending("fork")[0] == 3
    assert [op.name for op in recorder.trace() if op.kind == "collective"] == ["all_reduce"]
    assert not (recorder.folder / "trace-2.json").exists()


@pytest.mark.parametrize(
    ("how", "signum", "status"),
    [("stuck", signal.SIGTERM, 143), ("wait", signal.SIGINT, 130), ("handle", signal.SIGTERM, 9)],
)
def test_a_signal_to_the_command_ends_the_program_as_it_would_without(
    recorder: Recorder, how: str, signum: int, status: int
) -> None:
    process = recorder.start(sys.executable, ENDING, str(recorder.folder), how, options=["--no-count"])
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signum)
    assert recorder.end(process)[0] == status
    assert [op.name for op in recorder.trace() if op.kind == "collective"] == ["all_reduce"]


def test_an_interrupted_rank_that_is_killed_in_the_end_has_left_its_ops(recorder: Recorder) -> None:
    """As torchrun does with a rank that waits in C++, where an interrupt raises nothing."""
    process = recorder.start(sys.executable, ENDING, str(recorder.folder), "stuck", options=["--no-count"])
    assert process.stdout.readline() == "waiting\n"
    (rank,) = psutil.Process(process.pid).children()
    (left,) = (recorder.folder / "tmp").glob("lab_record_*/*.rank")
    begun = left.stat().st_ino
    process.send_signal(signal.SIGINT)
    while left.stat().st_ino == begun:
        time.sleep(0.01)
    rank.kill()
    assert recorder.end(process)[0] == 137
    assert [op.name for op in recorder.trace() if op.kind == "collective"] == ["all_reduce"]


def test_a_rank_that_is_killed_is_named(recorder: Recorder) -> None:
    status, _, said = recorder.ending("kill")
    assert status == 137
    assert "Rank 0 of 1 (process " in said
    assert "left nothing: it was killed" in said
    assert not recorder.out.exists()


def test_worlds_that_follow_each_other_are_files_of_their_own(recorder: Recorder) -> None:
    status, _, said = recorder.ending("twice")
    assert status == 0, said
    traces = [recorder.trace(), Trace.load(recorder.folder / "trace-2.json")]
    assert [[op.group for op in trace if op.kind == "collective"] for trace in traces] == [["world"], ["world"] * 2]


def test_processes_that_outlive_the_program_are_ended(recorder: Recorder) -> None:
    recorder.command = ("-c", NO_GRACE)
    status, printed, said = recorder.ending("outlive")
    assert status == 0
    assert f"outlived the program were ended: {printed.strip()}." in said
    assert not psutil.pid_exists(int(printed))


def test_compiled_code_is_recorded_without_counting(recorder: Recorder) -> None:
    status, _, said = recorder.ending("compiled", "--count")
    assert status == 1
    assert "Rank 0 stopped at code that torch.compile made" in said
    assert "record again with --no-count" in said
    assert recorder.ending("compiled")[0] == 0
