"""No process and no folder is left of ranks that are stuck, given up, or fail to start; of others see test_ranks."""

from __future__ import annotations

import gc
import os
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import ipyparallel as ipp
import psutil
import pytest
from rank_processes import assert_gone, below, folders, started_by

from lab_utils import start_ranks
from lab_utils.comm.status.shared_status import Board
from lab_utils.ranks import StartError
from lab_utils.ranks.processes import cluster
from lab_utils.ranks.processes.engines import Engines

pytestmark = pytest.mark.usefixtures("own_temp")
PORTS = ["registration", "control", "mux", "task", "iopub", "hb_ping", "hb_pong", "broadcast"]  # as it takes them


# ------------------------------------------------------------------ in this process
def test_stop_ends_ranks_that_are_stuck_or_stopped(own_temp: Path) -> None:
    """A process that no longer listens is killed after the grace; one that a signal stopped goes on, and ends."""
    ranks, processes = started_by(lambda: start_ranks(2))
    ranks.run(lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN) and None if os.environ["RANK"] == "1" else None)
    psutil.Process(ranks.status()[0].pid).suspend()
    ranks.stop()
    assert_gone(processes)
    assert folders(own_temp) == []


def test_ranks_that_nobody_has_any_more_end(own_temp: Path) -> None:
    ranks, processes = started_by(lambda: start_ranks(1))
    assert ranks.run(lambda: 1) == [1]
    gc.disable()  # the last name is enough: no collection must be needed
    try:
        del ranks
        assert folders(own_temp) == []
    finally:
        gc.enable()
    assert_gone(processes)


# ------------------------------------------------------------------ a start that fails
@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[psutil.Process]]:
    """`seen(place, name, error)`: that function raises during a start; returns the processes there at that moment."""

    def watch(place: type, name: str, error: BaseException) -> list[psutil.Process]:
        before, begun = set(below()), []

        def fail(*_: object) -> None:
            begun.extend(process for process in below() if process not in before)
            raise error

        monkeypatch.setattr(place, name, fail)
        with pytest.raises((type(error), StartError)) as failed:
            start_ranks(1)
        assert error in (failed.value, failed.value.__cause__)
        return begun

    return watch


def test_an_error_after_the_ranks_are_up(own_temp: Path, seen: Callable) -> None:
    processes = seen(Board, "create", OSError(28, "No space left on device"))
    assert len(processes) >= 4
    assert_gone(processes)
    assert folders(own_temp) == []


@pytest.mark.parametrize("ends", [1, 3])
def test_a_controller_that_ends_as_it_starts(own_temp: Path, ends: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program took a port that it had chosen: a new one is started, and in the end a sentence says so."""
    start, started = cluster._controller, []

    def start_and_end(*args: object) -> object:
        started.append(start(*args))
        if len(started) <= ends:
            psutil.Process(started[-1].controller.process.pid).kill()
        return started[-1]

    monkeypatch.setattr(cluster, "_controller", start_and_end)
    if ends < 3:
        with start_ranks(1) as ranks:
            assert ranks.run(lambda: 1) == [1]
    else:
        with pytest.raises(StartError, match="^ipyparallel's controller did not start in 3 attempts: it ended, or "):
            start_ranks(1)
    assert len(started) == min(ends + 1, 3)
    assert folders(own_temp) == []


@pytest.mark.parametrize("port", ["mux", "hb_ping"])
def test_a_scheduler_whose_port_was_taken(own_temp: Path, monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    """The controller lives on without it, and no rank would ever answer, or be registered: it is another's turn."""
    started = []
    make = ipp.Cluster

    with socket.create_server(("127.0.0.1", 0)) as taken, ExitStack() as free:
        sockets = [free.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PORTS]
        ports = [each.getsockname()[1] for each in sockets]
        ports[PORTS.index(port)] = taken.getsockname()[1]
        free.close()

        def with_these_ports(**given: Any) -> ipp.Cluster:
            own = [] if started else [f"--IPController.engine_ports={ports}"]
            started.append(make(**given | {"controller_args": [*given["controller_args"], *own]}))
            return started[-1]

        monkeypatch.setattr(ipp, "Cluster", with_these_ports)
        monkeypatch.setattr(cluster, "_LISTEN_S", 2.0)
        with start_ranks(1) as ranks:
            assert ranks.run(lambda: 1) == [1]
    assert len(started) == 2
    assert folders(own_temp) == []


def test_an_interrupt_during_the_start(own_temp: Path, seen: Callable) -> None:
    processes = seen(Engines, "form", KeyboardInterrupt())
    assert len(processes) >= 4
    assert_gone(processes)
    assert folders(own_temp) == []


def test_a_zygote_that_cannot_load_torch(own_temp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as an installation that is broken: what it said is in the sentence."""
    broken = own_temp / "broken" / "torch"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text('raise ImportError("libtorch_cpu.so: file too short")\n', encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(broken.parent))
    before = set(below())
    with pytest.raises(StartError) as failed:
        start_ranks(1)
    assert "\n" not in str(failed.value)
    assert "ImportError: libtorch_cpu.so: file too short" in str(failed.value)
    assert_gone(set(below()) - before)
    assert folders(own_temp) == []
