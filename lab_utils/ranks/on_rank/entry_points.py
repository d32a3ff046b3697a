"""Functions called on a rank: join the group, run functions and cells, return how they ended.

The notebook's kernel imports this too (to send them by name), so torch is imported inside functions only.
"""

from __future__ import annotations

import builtins
import contextlib
import gc
import getpass
import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any

from lab_utils.comm.process_group.membership import Groups
from lab_utils.host.cpu_times import CpuTimes, cpu_times
from lab_utils.host.notebook_errors import hints
from lab_utils.ranks.calls.cell_names import Cell, keep
from lab_utils.ranks.diagnosis.errors import Failure
from lab_utils.ranks.on_rank import cells, ending, streams, torchrun
from lab_utils.ranks.processes.interrupts import CalledOff, Postponed, heed_interrupts_after_backward
from lab_utils.ranks.shipping.own_modules import read_own_sources
from lab_utils.ranks.shipping.reloading import own_modules
from lab_utils.ranks.shipping.shipping import pack_result, settle, unpack
from lab_utils.ranks.shipping.surroundings import Surroundings, begin

_called_off, _postponed = CalledOff(), Postponed()


@dataclass(slots=True)
class Outcome:
    """How a call ended on one rank. `result` is pickled; `ops`, `phases` and `used` are filled when it was recorded.

    broken       its groups must be formed again: the call destroyed them, as a script does at its end, or caught the
                 error of an op that broke their connections
    interrupted  an interrupt came, which the call may have handled
    """

    rank: int
    result: bytes = b""
    failure: Failure | None = None
    ops: list = field(default_factory=list)
    phases: list = field(default_factory=list)
    used: CpuTimes | None = None
    broken: bool = False
    interrupted: bool = False


def enlist(rank: int, ranks: int, folder: str, notebook: Surroundings, port: int) -> int:
    """Make this new process rank `rank` of `ranks`; return the process id.

    Modules are imported from where the notebook imports them. The port is free for a script's own store.
    """
    read_own_sources()
    own_modules.skip_present()
    begin(notebook)
    import torch

    from lab_utils.comm.process_group.forming_groups import register_backend
    from lab_utils.comm.recorder.fingerprints import Fingerprints
    from lab_utils.comm.recorder.recorder import recorder
    from lab_utils.comm.status.progress import listen
    from lab_utils.comm.status.shared_status import Board
    from lab_utils.ranks.on_rank import ddp_models
    from lab_utils.ranks.on_rank.failures import refuse_to_ask, refuse_to_debug
    from lab_utils.ranks.on_rank.guard_thread import socket_file, stand_guard

    hints.clear()  # they are about the notebook's own process
    torchrun.set_variables(rank, ranks, port)
    _seed_anew()
    torchrun.adopt_the_group()
    streams.draw_bars_as_text()
    multiprocessing.current_process()._config["tempdir"] = folder  # its default folder would stay if a child is killed
    ending.end_when_asked()
    streams.speak_into(folder)
    builtins.input = getpass.getpass = refuse_to_ask
    if "PYTHONBREAKPOINT" not in os.environ:
        sys.breakpointhook = refuse_to_debug
    _called_off.attach(folder)
    heed_interrupts_after_backward(_postponed)
    ddp_models.follow()
    if torch.cuda.is_available():
        torch.cuda.set_device(rank % torch.cuda.device_count())
    register_backend()
    recorder.attach(rank, ranks, Board(f"{folder}/board"), Fingerprints(f"{folder}/signatures", rank, ranks))
    listen(_publish)
    stand_guard(socket_file(folder, rank, os.getpid()))
    return os.getpid()


def _seed_anew() -> None:
    """Seed the global random generators: a fork copies their state, and ranks would draw the same numbers."""
    import torch

    random.seed()
    torch.seed()
    if "numpy" in sys.modules:  # else it is seeded when imported
        sys.modules["numpy"].random.seed()


def leave() -> Groups:
    """Abort and leave every group, without waiting for other ranks."""
    from lab_utils.comm.process_group import forming_groups
    from lab_utils.ranks.on_rank import ddp_models

    return replace(forming_groups.leave(), unfinished=ddp_models.unfinished())


def form(store: str, epoch: int, agreed: Groups, timeout_s: float) -> None:
    """Form the groups again on loopback, on a fresh store, and make DDP models ready whose step failed."""
    from lab_utils.comm.process_group import forming_groups
    from lab_utils.comm.recorder.recorder import recorder
    from lab_utils.ranks.on_rank import ddp_models

    forming_groups.form(store, epoch, agreed, timeout_s)
    ddp_models.make_ready(agreed.unfinished)
    recorder.show("idle")


def _publish(values: dict) -> None:
    from ipyparallel.datapub import publish_data

    publish_data({"report": values})


def run(number: int, payload: bytes, cells: list[Cell], record: bool = False, count: bool = True) -> Outcome:
    """Run a packed function, whose code is in these notebook cells or in files; `number` is the call's number."""
    return _guarded(number, lambda: _call(payload), cells, record, count)


def _call(payload: bytes) -> Any:
    function, args, kwargs = unpack(payload)
    try:
        return function(*args, **kwargs)
    finally:
        cells.show_figures()


def run_cell(
    number: int, cell: Cell, record: bool = False, count: bool = True, notebook: Surroundings | None = None
) -> Outcome:  # fmt: skip
    """Run a cell in the rank's namespace, as a notebook's kernel would."""

    def call() -> None:
        if notebook is not None:
            settle(notebook)
        cells.run_cell(cell)

    return _guarded(number, call, [cell], record, count)


def _guarded(number: int, call: Callable[[], Any], of: list[Cell], record: bool, count: bool) -> Outcome:
    """Run the call; an exception becomes a Failure, and this rank leaves its groups."""
    import torch.distributed as dist

    from lab_utils.comm.recorder.recorder import name_files, recorder
    from lab_utils.ranks.on_rank.failures import failure_of

    outcome = Outcome(recorder.rank)
    keep(of)
    name_files({cell.file: cell.name for cell in of})
    with streams.own_streams(), ending.running(), cells.no_running_loop():
        try:
            error = _attempt(number, call, outcome, record, count)
        except BaseException as again:  # interrupted or terminated while handling an exception
            error = again
        ending.end_a_copy(error)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if error is not None:
            outcome.failure = failure_of(error)
            leave()  # so that ranks waiting for this one fail at once
            error = None  # its traceback refers to this frame: the cycle would keep the call's objects alive
        recorder.show("idle")
    ending.end_if_asked()
    outcome.broken = not dist.is_initialized() or recorder.broken
    return outcome


def _attempt(
    number: int, call: Callable[[], Any], outcome: Outcome, record: bool, count: bool
) -> BaseException | None:  # fmt: skip
    """Run the call; return the exception by which it ended, or None. Interrupts after the call are ignored."""
    import torch

    from lab_utils.comm.recorder.recorder import recorder

    grad = torch.is_grad_enabled()

    def interrupt(_number: int, frame: FrameType | None) -> None:
        outcome.interrupted = True
        if not _postponed.postpone(frame):
            raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGINT, interrupt)
        if _called_off.last >= number:  # interrupted before this rank began and handled signals
            raise KeyboardInterrupt
        recorder.begin_call()
        torchrun.begin_call()
        with _recorded(outcome, count) if record else contextlib.nullcontext():
            result = _returned(call)
        outcome.result = pack_result(result)
        _refuse_open_coalescing()
        if signal.getsignal(signal.SIGINT) is not interrupt:  # the program's own handler was called, not ours
            outcome.interrupted = _called_off.last >= number
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: the rank must stay
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a pending interrupt raises here
        if outcome.interrupted:  # it may have skipped torch.no_grad's __exit__, for all later calls
            torch.set_grad_enabled(grad)
        return error
    finally:
        _postponed.end()
    return None


def _returned(call: Callable[[], Any]) -> Any:
    """Return what the call returns, None when it ends by `sys.exit()` or `sys.exit(0)`, as a script may."""
    try:
        return call()
    except SystemExit as end:
        if end.code not in (None, 0):
            raise
        return None


def _refuse_open_coalescing() -> None:
    """RuntimeError when an exception left torch's coalescing manager open: later ops would wait in it for ever."""
    from lab_utils.comm.process_group.forming_groups import forget_coalescing

    if left_open := forget_coalescing():
        raise RuntimeError(
            f"a coalescing manager was left open by an exception on {', '.join(left_open)}: the ops inside it never ran"
        )


@contextlib.contextmanager
def _recorded(outcome: Outcome, count: bool):
    import torch.distributed as dist

    from lab_utils.comm.recorder.recorder import recording

    if count:
        gc.collect()  # models with hooks are cycles: one that an earlier call has dropped would count as live
    before = cpu_times()
    with recording(count, meet=dist.barrier) as recorded:
        yield
    after = cpu_times()
    outcome.used = None if before is None or after is None else after.since(before)
    outcome.ops, outcome.phases = recorded.ops, recorded.phases
