"""`lab_utils record`: programs that know nothing of the lab are recorded, and run as they do without."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import ddp_program
import pytest
from recorded_runs import HERE, ROOT, Recorder, named, started, torchrun

from lab_utils.timeline.hardware import Device, Hardware, Link

SLOW = Hardware(Device("slow", 1e9, 1e9), Link("slow", 1e-3, 1e6))


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path)


# ---------------------------------------------------------------------- whole programs
def test_ddp_under_a_torchrun_that_is_not_on_the_path(recorder: Recorder) -> None:
    """It is found beside Python."""
    assert shutil.which("torchrun", path=os.defpath) is None
    status, printed, said = recorder.run(*torchrun(2, "ddp_program.py", command=["torchrun"]), PATH=os.defpath)
    assert status == 0, said
    assert sorted(printed.split("\n")) == ["", *(f"rank {rank} of gloo: equal weights" for rank in range(2))]
    assert "Trace of 2 ranks" in said
    command = f"torchrun --standalone --nproc-per-node 2 {shlex.quote(str(HERE / 'ddp_program.py'))}"
    assert f"\n{command} ended with status 0." in said
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


def test_ranks_leave_what_they_did_when_one_raises_and_torchrun_ends_the_others(recorder: Recorder) -> None:
    status, _, said = recorder.run(*torchrun(2, "ddp_program.py", "raise"))
    assert status == 1
    assert "rank 1 has had enough" in said
    assert "left nothing" not in said
    trace = recorder.trace()
    assert [len(named(trace, rank, "all_reduce")) for rank in range(2)] == [3, 2], "rank 0 waits in the third step"
    assert trace.timeline().waiting_by_rank_s[0] > 0


# ---------------------------------------------------------------------- nothing to record
def test_a_program_without_a_group_is_said_to_have_none(recorder: Recorder) -> None:
    status, printed, said = recorder.run(sys.executable, "-c", "print('hello')")
    assert (status, printed) == (1, "hello\n")
    assert "no process of the program formed a torch.distributed group" in said
    assert recorder.run(sys.executable, "-c", "raise SystemExit(5)")[0] == 5
    assert not recorder.out.exists()


def test_the_labs_own_ranks_record_themselves(recorder: Recorder) -> None:
    program = """
import torch, torch.distributed as dist
from lab_utils.comm import recording, register_backend
register_backend()
dist.init_process_group("lab", store=dist.HashStore(), rank=0, world_size=1)
with recording(count=False) as recorded:
    dist.all_reduce(torch.ones(4))
print([op.name for op in recorded.ops if op.kind == "collective"])"""
    status, printed, said = recorder.run(sys.executable, "-c", program)
    assert (status, printed) == (1, "['all_reduce']\n")
    assert "it is a rank of the lab, whose own groups record: call ranks.record(function)." in said


def test_a_program_that_cannot_be_started_is_named(recorder: Recorder) -> None:
    status, _, said = recorder.run("no-such-program", "train.py")
    assert (status, said) == (127, "no-such-program cannot be started: No such file or directory.\n")
    (recorder.folder / "train.py").write_text("", encoding="utf-8")
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
    (recorder.folder / "sitecustomize.py").write_text("print('the program\\'s own')", encoding="utf-8")
    look = [sys.executable, "-c", "import sys, sitecustomize; print(sys.path, sitecustomize.__file__)"]
    path = str(recorder.folder)
    alone = subprocess.run(look, env={**os.environ, "PYTHONPATH": path}, cwd=ROOT, encoding="utf-8", stdout=-1)
    # The command runs in the same surroundings, and says so first.
    assert recorder.run(*look, PYTHONPATH=path)[1] == "the program's own\n" + alone.stdout


def test_the_lab_is_loaded_once_for_all_processes_that_are_forked(recorder: Recorder) -> None:
    """Loading it in each would take longer than a short program runs."""
    program = """if True:
        import multiprocessing, sys
        import torch.distributed
        loaded = lambda: print("lab_utils.record.on_rank" in sys.modules, flush=True)
        loaded()
        child = multiprocessing.get_context("fork").Process(target=loaded)
        child.start()
        child.join()
    """
    assert recorder.run(sys.executable, "-c", program)[1] == "False\nTrue\n"


def test_a_forked_rank_holds_the_tensors_that_it_inherited(recorder: Recorder) -> None:
    """Its parent has looked for them, before the fork and again for what it made between two forks."""
    program = """if True:
        import multiprocessing, tempfile
        import torch, torch.distributed as dist
        def rank(rank):
            dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
            (here[0] + 1).sum()
            dist.all_reduce(torch.ones(1))
            dist.destroy_process_group()
        store, here, ranks = tempfile.mktemp(), [torch.ones(250_000)], []
        for number in range(2):
            ranks.append(multiprocessing.get_context("fork").Process(target=rank, args=(number,)))
            ranks[-1].start()
            here.append(torch.ones(500_000))
        for each in ranks:
            each.join()
    """
    status, _, said = recorder.run(sys.executable, "-c", program)
    assert status == 0, said
    held = [next(op.live_bytes for op in ops if op.live_bytes is not None) for ops in recorder.trace().ops]
    assert [round(each / 1e6) for each in held] == [1, 3], "rank 1 was forked when there were two more million bytes"


def test_the_program_needs_no_lab_among_its_packages(recorder: Recorder) -> None:
    without = "import sys; sys.meta_path[:] = [each for each in sys.meta_path if '__editable__' not in each.__module__]"
    program = f"{without}; sys.path.remove(''); {started('exit', recorder.folder)}"
    assert recorder.run(sys.executable, "-c", program, options=["--no-count"])[0] == 3
    assert len(recorder.trace().collectives()) == 1


def test_a_program_that_cannot_be_recorded_still_runs(recorder: Recorder) -> None:
    (recorder.folder / "lab_utils.py").write_text("", encoding="utf-8")
    program = f"import sys; sys.path.insert(0, {str(recorder.folder)!r}); {started('destroy', recorder.folder)}"
    status, _, said = recorder.run(sys.executable, "-c", program)
    assert status == 3
    assert "A process could not be recorded: ModuleNotFoundError: No module named 'lab_utils." in said
    assert "(torch 2." in said
