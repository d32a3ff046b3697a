"""`lab_utils record`: programs that know nothing of the lab are recorded, however they end, and nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ddp_program
import pipelining_program
import psutil
import pytest

from lab_utils.timeline import Op, Trace
from lab_utils.timeline.hardware import Device, Hardware, Link

TESTS = Path(__file__).parent
ENDING = str(TESTS / "ending_program.py")
SLOW = Hardware(Device("slow", 1e9, 1e9), Link("slow", 1e-3, 1e6))


@dataclass
class Recorder:
    """Runs the command with files and private folders in a folder of the test's own."""

    folder: Path

    @property
    def out(self) -> Path:
        return self.folder / "trace.json"

    def start(self, *program: str, options: Sequence[str] = (), **environ: str) -> subprocess.Popen[str]:
        line = [sys.executable, "-m", "lab_utils", "record", "--out", str(self.out), *options, "--", *program]
        (self.folder / "tmp").mkdir(exist_ok=True)
        env = {**os.environ, "TMPDIR": str(self.folder / "tmp"), "OMP_NUM_THREADS": "1", **environ}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(line, cwd=TESTS.parent, env=env, text=True, **pipes)

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str, str]:
        """Exit status, what the program printed, what it and the command said; nothing is left of either."""
        printed, said = process.communicate()
        assert list((self.folder / "tmp").glob("lab_record_*")) == []
        ours = [p for p in psutil.process_iter(["environ"]) if str(self.folder) in str(p.info["environ"])]
        assert ours == []
        return process.returncode, printed, said

    def run(self, *program: str, options: Sequence[str] = (), **environ: str) -> tuple[int, str, str]:
        return self.end(self.start(*program, options=options, **environ))

    def ending(self, how: str, option: str = "--no-count") -> tuple[int, str, str]:
        return self.run(sys.executable, ENDING, str(self.folder), how, options=[option])

    def trace(self) -> Trace:
        return Trace.load(self.out)


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path)


def torchrun(ranks: int, name: str, *arguments: str) -> list[str]:
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    return [*line, str(TESTS / name), *arguments]


def started(how: str, folder: Path) -> str:
    """Code that runs the ending program in its own process."""
    return f"import runpy; sys.argv = ['', {str(folder)!r}, {how!r}]; runpy.run_path({ENDING!r}, run_name='__main__')"


def named(trace: Trace, rank: int, name: str) -> list[Op]:
    return [op for op in trace.ops[rank] if op.name == name and op.kind != "wait"]


# ---------------------------------------------------------------------- whole programs
def test_ddp_under_torchrun(recorder: Recorder) -> None:
    status, printed, said = recorder.run(*torchrun(2, "ddp_program.py"))
    assert status == 0, said
    assert sorted(printed.split("\n")) == ["", *(f"rank {rank} of gloo: equal weights" for rank in range(2))]
    assert "Trace of 2 ranks" in said
    assert "ended with status 0" in said
    trace, p = recorder.trace(), ddp_program
    weights = p.HIDDEN * (p.INPUTS + 1) + p.OUTPUTS * (p.HIDDEN + 1)
    for rank in range(2):
        assert [op.bytes for op in named(trace, rank, "all_reduce")] == [4 * weights] * p.STEPS
        assert {op.source.partition(":")[0] for op in named(trace, rank, "all_reduce")} == {"ddp_program.py"}
        # Forward, weights' gradients; and the inputs' gradient of the second layer.
        products = 2 * p.HIDDEN * p.INPUTS + 3 * p.OUTPUTS * p.HIDDEN
        assert sum(op.flops for op in trace.ops[rank]) == p.STEPS * 2 * p.BATCH * products
    assert all(op.done_s is not None for op in trace)
    assert trace.timeline(SLOW).makespan_s >= p.STEPS * 4 * weights / SLOW.link.bytes_per_s


def test_pipelining_over_fsdp2_under_torchrun(recorder: Recorder) -> None:
    status, _, said = recorder.run(*torchrun(4, "pipelining_program.py"), options=["--no-count"])
    assert status == 0, said
    trace, p = recorder.trace(), pipelining_program
    assert {op.group for op in trace if op.group} == {"mesh_dp 0,1", "mesh_dp 2,3", "mesh_pp 0,2", "mesh_pp 1,3"}
    assert all(len(sides) == 2 for sides in trace.messages().values())
    micro_batch = p.BATCH // p.MICROBATCHES * p.WIDTH * 4
    forwards = [op for op in named(trace, 0, "send") if op.peer == 2 and op.bytes == micro_batch]
    backwards = [op for op in named(trace, 3, "send") if op.peer == 1 and op.bytes == micro_batch]
    assert len(forwards) == len(backwards) == p.MICROBATCHES
    assert all(named(trace, rank, "reduce_scatter") for rank in range(4))
    assert sum(op.flops for op in trace) == 0
    assert trace.timeline(Hardware(None, SLOW.link)).makespan_s > 0


def test_ranks_leave_what_they_did_when_one_raises_and_torchrun_ends_the_others(recorder: Recorder) -> None:
    status, _, said = recorder.run(*torchrun(2, "ddp_program.py", "raise"))
    assert status == 1
    assert "rank 1 has had enough" in said
    assert "left nothing" not in said
    trace = recorder.trace()
    assert [len(named(trace, rank, "all_reduce")) for rank in range(2)] == [3, 2], "rank 0 waits in the third step"
    assert trace.timeline().waiting_by_rank_s[0] > 0


# ---------------------------------------------------------------------- how a rank may end
@pytest.mark.parametrize(("how", "status"), [("exit", 3), ("fork", 0)])
def test_a_rank_leaves_its_ops_however_it_ends(recorder: Recorder, how: str, status: int) -> None:
    assert recorder.ending(how)[0] == status
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


# ---------------------------------------------------------------------- nothing to record
def test_a_program_without_a_group_is_said_to_have_none(recorder: Recorder) -> None:
    status, printed, said = recorder.run(sys.executable, "-c", "print('hello')")
    assert (status, printed) == (1, "hello\n")
    assert "no process of the program formed a torch.distributed group" in said
    assert recorder.run(sys.executable, "-c", "raise SystemExit(5)")[0] == 5
    assert not recorder.out.exists()


def test_a_program_that_cannot_be_started_is_named(recorder: Recorder) -> None:
    status, _, said = recorder.run("no-such-program", "train.py")
    assert (status, said) == (127, "no-such-program cannot be started: No such file or directory.\n")
    (recorder.folder / "train.py").write_text("")
    status, _, said = recorder.run(str(recorder.folder / "train.py"))
    assert status == 126
    assert said.endswith("cannot be started: Permission denied.\n")


def test_bad_usage_is_told_before_anything_runs(recorder: Recorder) -> None:
    status, _, said = recorder.run()
    assert status == 2
    assert "no program is given: write it after --" in said
    status, _, said = recorder.run("true", options=["--out", str(recorder.folder / "missing" / "trace.json")])
    assert status == 2
    assert "cannot be written" in said


# ---------------------------------------------------------------------- the program's own surroundings
def test_the_program_sees_its_own_path_and_sitecustomize(recorder: Recorder) -> None:
    (recorder.folder / "sitecustomize.py").write_text("print('the program\\'s own')")
    look = [sys.executable, "-c", "import sys, sitecustomize; print(sys.path, sitecustomize.__file__)"]
    path = str(recorder.folder)
    alone = subprocess.run(look, env={**os.environ, "PYTHONPATH": path}, cwd=TESTS.parent, text=True, stdout=-1)
    # The command runs in the same surroundings, and says so first.
    assert recorder.run(*look, PYTHONPATH=path)[1] == "the program's own\n" + alone.stdout


def test_the_program_needs_no_lab_among_its_packages(recorder: Recorder) -> None:
    without = "import sys; sys.meta_path[:] = [each for each in sys.meta_path if '__editable__' not in each.__module__]"
    program = f"{without}; sys.path.remove(''); {started('exit', recorder.folder)}"
    assert recorder.run(sys.executable, "-c", program, options=["--no-count"])[0] == 3
    assert len(recorder.trace().collectives()) == 1


def test_a_program_that_cannot_be_recorded_still_runs(recorder: Recorder) -> None:
    (recorder.folder / "lab_utils.py").write_text("")
    program = f"import sys; sys.path.insert(0, {str(recorder.folder)!r}); {started('exit', recorder.folder)}"
    status, _, said = recorder.run(sys.executable, "-c", program)
    assert status == 3
    assert "A process could not be recorded: ModuleNotFoundError: No module named 'lab_utils." in said
    assert "(torch 2." in said
