"""The soak draws the same faults from the same seed, tells whose interrupt it is, and leaves nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest
from rank_processes import assert_gone

from lab_utils.ranks.diagnosis.errors import RanksError
from lab_utils.soak import command
from lab_utils.soak.beacon import Beacon, tell
from lab_utils.soak.command import main
from lab_utils.soak.faults import KINDS, PLACES, PROGRAMS, STEPS, Fault, draw_faults
from lab_utils.soak.interrupts import Interrupts, Overdue
from lab_utils.soak.judge import Result
from lab_utils.soak.planted import Planted

STARTED_S = 600.0


# ---------------------------------------------------------------------- which faults
def test_the_same_seed_makes_the_same_faults() -> None:
    assert draw_faults(7, 40, 4) == draw_faults(7, 40, 4)
    assert draw_faults(7, 40, 4) != draw_faults(8, 40, 4)
    assert draw_faults(7, 40, 4)[:9] == draw_faults(7, 9, 4), "or --only would find another fault"


def test_every_kind_meets_every_program() -> None:
    faults = draw_faults(0, 80, 4)
    assert [fault.number for fault in faults] == list(range(1, 81))
    assert Counter((fault.kind, fault.program) for fault in faults) == {(k, p): 2 for k in KINDS for p in PROGRAMS}
    assert all({fault.kind for fault in faults[start : start + 8]} == set(KINDS) for start in range(0, 80, 8))


def test_faults_strike_everywhere() -> None:
    faults = draw_faults(0, 2000, 3)
    assert {fault.rank for fault in faults} == {0, 1, 2}
    assert {fault.step for fault in faults} == set(range(STEPS))
    assert {(f.program, f.place) for f in faults} == {(p, place) for p, places in PLACES.items() for place in places}
    assert {fault.place for fault in faults if fault.kind in ("skip", "shape")} == {"agree", "message"}
    assert {fault.place for fault in faults if fault.kind == "swap"} == {"agree"}
    assert max(fault.visit for fault in faults if fault.place == "message") == 1


# ---------------------------------------------------------------------- on the rank
FAULT = Fault(5, "exception", "ddp", rank=2, step=1, place="forward", visit=1, how="KeyError")


def test_a_fault_strikes_its_rank_at_its_place_only() -> None:
    with Beacon() as beacon:
        other, own = (Planted(FAULT, rank, beacon.port) for rank in (1, 2))
        for planted in (other, own):
            planted.begin(0)
            assert [planted.at(place) for place in ("forward", "forward", "backward")] == ["", "", ""]
            planted.begin(1)
            assert [planted.at(place) for place in ("backward", "backward", "forward")] == ["", "", ""]
        assert beacon.wait(0) is None
        assert other.at("forward") == ""
        with pytest.raises(KeyError, match="fault 5 of the soak"):
            own.at("forward")
        assert beacon.wait(0) is not None


def test_a_rank_is_told_what_to_do_wrong() -> None:
    with Beacon() as beacon:
        planted = Planted(replace(FAULT, kind="skip", how="first"), 2, beacon.port)
        planted.begin(1)
        assert [planted.at("forward") for _ in range(3)] == ["", "skip", ""]
        assert planted.how == "first"


def test_a_beacon_hears_the_moment() -> None:
    with Beacon() as beacon:
        before_s = time.perf_counter()
        tell(beacon.port)
        assert before_s < beacon.wait(1.0) < time.perf_counter()


# ---------------------------------------------------------------------- interrupts
def test_an_interrupt_of_the_soak_s_own_strikes_only_where_it_is_awaited() -> None:
    with Interrupts() as interrupts:
        interrupts.send()
        with pytest.raises(KeyboardInterrupt), interrupts.awaited():
            interrupts.send()
        assert not interrupts.by_user


def test_the_user_s_interrupt_is_told_apart() -> None:
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt), interrupts.awaited():
            os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.by_user
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_does_not_end_is_ended() -> None:
    with Interrupts() as interrupts:
        with pytest.raises(Overdue, match="not over after 0.1 s:\nall of them wait"):
            with interrupts.limit(0.1, lambda: "all of them wait"):
                signal.pause()
        with interrupts.limit(60, str):
            assert not interrupts.by_user


# ---------------------------------------------------------------------- the command
@pytest.mark.parametrize("arguments", [["--faults", "0"], ["--ranks", "1"], ["--seed", "x"], ["--only", "none"]])
def test_bad_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Replace ranks and soak: each fault then ends as `endure` says, and `left` processes stay."""

    def replaced_by(endure: Callable[[Fault], Result], left: int = 0) -> None:
        ranks = SimpleNamespace(stop=lambda: None, restarts=0)
        monkeypatch.setattr(command, "CountedRanks", lambda size: ranks)
        monkeypatch.setattr(command, "Soak", lambda *_: SimpleNamespace(endure=endure, living=lambda: left))

    return replaced_by


def test_exit_status(made_up: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    made_up(Result)
    assert main(["--faults", "3"]) == 0
    made_up(Result, left=1)
    assert main(["--faults", "3"]) == 1
    made_up(lambda fault: Result(fault, misnamed="wanted a, got b" if fault.number == 2 else ""))
    assert main(["--faults", "3", "--seed", "9"]) == 1
    said = capsys.readouterr()
    assert "wanted a, got b\nagain: python -m lab_utils soak --ranks 4 --seed 9 --only 2\n" in said.out
    assert len(re.findall(r"^\[\d/3\] ", said.err, re.MULTILINE)) == 9


def test_an_error_between_two_faults_ends_it(made_up: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    def break_down(_: Fault) -> Result:
        raise RanksError("nothing starts")

    made_up(break_down)
    assert main([]) == 1
    assert "ended early by RanksError: nothing starts" in capsys.readouterr().out


def soak(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lab_utils", "soak", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", start_new_session=True,
    )  # fmt: skip


def test_ctrl_c_ends_it_with_what_was_measured_and_leaves_nothing() -> None:
    with soak("--faults", 10_000, "--ranks", 2) as child:
        for line in child.stderr:
            if line.startswith("[1/"):
                break
        processes = psutil.Process(child.pid).children(recursive=True)
        assert len(processes) >= 4
        child.send_signal(signal.SIGINT)
        said, _ = child.communicate(timeout=STARTED_S)
    assert child.returncode == command.INTERRUPTED
    assert re.search(r"^all +\d", said, re.MULTILINE) and "0 processes left" in said
    assert_gone(processes)


AT_ITS_END = """
import sys, threading
from lab_utils.soak.endure import in_a_thread
from lab_utils.soak.interrupts import Interrupts

begin, gate = threading._start_new_thread, threading.Lock()

def late(run, args):
    gate.acquire()
    return begin(lambda: gate.acquire() and gate.release() or run(*args), ())

def interrupted(event, timeout=None):  # as a Ctrl-C in there does, at the worst moment: the lock is never given back
    event._cond.acquire()
    gate.release()
    raise KeyboardInterrupt

threading._start_new_thread = late
threading.Event.wait, wait = interrupted, threading.Event.wait
for start in (lambda: Interrupts().limit(600, str).__enter__(), lambda: in_a_thread(int)):
    try:
        start()
    except KeyboardInterrupt:
        print("interrupted")
threading.Event.wait = wait
while [frame.f_code.co_name for frame in sys._current_frames().values()].count("__enter__") < 2:
    pass  # until both threads are at the lock
"""


def test_python_ends_whatever_an_interrupt_left_of_a_thread_that_was_being_started() -> None:
    ended = subprocess.run([sys.executable, "-c", AT_ITS_END], capture_output=True, encoding="utf-8", timeout=STARTED_S)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "interrupted\n" * 2, "")
