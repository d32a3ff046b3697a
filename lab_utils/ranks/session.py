"""`start_ranks(4)`: real processes as ranks of one process group, from a notebook."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lab_utils.ranks.calls.call import Call, error_of
from lab_utils.ranks.calls.cell_names import cells_of, is_notebooks
from lab_utils.ranks.calls.outcomes import results_of, trace_of
from lab_utils.ranks.calls.watch import Watch
from lab_utils.ranks.diagnosis.errors import RankDied, RankError, RanksError
from lab_utils.ranks.on_rank import entry_points
from lab_utils.ranks.processes.checks import check_request
from lab_utils.ranks.processes.child_processes import CAN_FORK
from lab_utils.ranks.processes.engines import Engines
from lab_utils.ranks.processes.interrupts import interrupts_held
from lab_utils.ranks.shipping.shipping import pack
from lab_utils.ranks.status import Status, read_status
from lab_utils.text import counted
from lab_utils.timeline import Trace

if TYPE_CHECKING:
    import ipyparallel as ipp

GROUP_TIMEOUT_S = 30.0
_ANSWER_S = 0.5
_OF_THE_NOTEBOOK = (
    "{name} is a variable of the notebook, and ranks have their own: set it in a %%ranks cell, "
    "or pass it to a function: ranks.run(f, {name})"
)
_started: weakref.WeakSet[Ranks] = weakref.WeakSet()
_with_new_engines: list[Callable[[ipp.Client], None]] = []


def with_new_engines(tell: Callable[[ipp.Client], None]) -> None:
    """Register a function to call with the client whenever ranks have new engines."""
    _with_new_engines.append(tell)


def start_ranks(ranks: int = 4, *, timeout_s: float = GROUP_TIMEOUT_S, fork: bool = CAN_FORK) -> Ranks:
    """Start `ranks` processes with torch loaded and the process group formed on loopback.

    >>> ranks = start_ranks(4)                      # or: with start_ranks(4) as ranks: ...
    >>> ranks.run(lambda: dist.get_rank())
    [0, 1, 2, 3]

    timeout_s   seconds after which a collective that some rank never joins ends with an error
    fork        fork the ranks from one process that has torch loaded; else use the stock launcher

    StartError, one sentence, when that many ranks cannot be started here; nothing is left running.
    """
    return Ranks(check_request(ranks, timeout_s), timeout_s, fork)


def current_ranks() -> Ranks | None:
    """Return the ranks that `%%ranks` runs on: the last started that still run, or None."""
    running = [ranks for ranks in _started if ranks.running]
    return max(running, key=lambda ranks: ranks.number, default=None)


class Ranks:
    """Ranks of one process group, on plain ipyparallel: `client` is its Client, and `%%px` works too.

    When a call raises, it has ended on every rank. Ranks that live keep their variables; the next call forms the
    groups again, as the same objects, and starts a new process for each rank that died.
    """

    _numbers = itertools.count()

    def __init__(self, size: int, timeout_s: float, fork: bool):
        self.size, self.timeout_s, self.fork = size, timeout_s, fork
        self.number = next(self._numbers)
        self._one_call, self._caller, self._calls = threading.Lock(), None, 0
        self._start()
        _started.add(self)

    @property
    def client(self) -> ipp.Client:
        return self._engines.client

    @property
    def running(self) -> bool:
        return self._engines is not None

    # ------------------------------------------------------------------ running code
    def run(self, function: Callable | str, *args: Any, on_report: Callable | None = None, **kwargs: Any) -> list[Any]:
        """Run `function(*args, **kwargs)` on every rank; return results in rank order, tensors as numpy arrays.

        The function is plain torch.distributed code, or the name of one that a `%%ranks` cell defined. What ranks
        print is shown in rank order at the end. `on_report(rank, values)` is called here whenever a rank calls
        `lab_utils.comm.report(...)`. RankError: a rank raised. RanksStuck: ranks wait for what cannot come.
        RankDied: a rank's process ended. KeyboardInterrupt: the cell was interrupted, and the ranks with it.
        """
        return results_of(self._run(function, args, kwargs, on_report))

    def record(
        self,
        function: Callable | str,
        *args: Any,
        on_report: Callable | None = None,
        count: bool = True,
        **kwargs: Any,
    ) -> Trace:
        """Run the function as `run` does and record all communication; `trace.results` is the list of results.

        count   also count FLOPs and bytes of kernels, for `trace.timeline(hardware)`; it costs some µs per kernel.
                RankError where torch.compile'd code runs, which cannot be counted
        """
        return trace_of(self._run(function, args, kwargs, on_report, True, count))

    def _run(self, function, args, kwargs, on_report, *record) -> list[entry_points.Outcome]:
        payload, files = pack(function, args, kwargs)
        return self.call(entry_points.run, payload, cells_of(files), *record, on_report=on_report)

    def call(
        self, function: Callable, *args: Any, only: list[int] | None = None, on_report=None, alone: bool = False
    ) -> list:  # fmt: skip
        """Call one of on_rank's functions on every rank, or on those in `only`; wait for all and show their output.

        alone   the notebook's cell is nothing but this call, so that output may be removed from it

        Calls from several threads run one after the other. RanksError: a call from within its own `on_report`.
        """
        if self._caller == threading.get_ident():
            raise RanksError("these ranks are in a call, whose on_report cannot call them: do it when run has returned")
        with self._one_call:
            self._caller = threading.get_ident()
            try:
                return self._call(function, args, only, on_report, alone)
            finally:
                self._caller = None

    def _call(
        self, function: Callable, args: tuple, only: list[int] | None, on_report: Callable | None, alone: bool
    ) -> list:  # fmt: skip
        self._get_ready()
        engines = self._engines
        members = {rank: engines.members[rank] for rank in (range(self.size) if only is None else only)}
        pids = {rank: member.pid for rank, member in engines.members.items()}
        watch = Watch(engines.board, engines.guards, pids, engines.epoch)
        self._must_form = True  # unless the call succeeds
        with engines.outputs.live(alone) as live:
            self._calls += 1
            call = Call(
                engines.client, members, pids.keys() - members.keys(), watch, on_report,
                number=self._calls, called_off=engines.called_off, between=live.look,
            )  # fmt: skip
            engines.on_death = call.died
            try:
                for rank in engines.dead.keys() & members.keys():  # died since _get_ready
                    call.died(rank)
                call.finish(function, (self._calls, *args))
            finally:
                engines.on_death = None
        return self._answers(call, engines)

    def _answers(self, call: Call, engines: Engines) -> list:
        """Return the answers in rank order, or raise the call's error."""
        dead, kills = dict(engines.dead), engines.out_of_memory()
        error = error_of(call, dead, kills, engines.lost)
        if error is not None and self._engines is not engines:
            raise RanksError("these ranks were stopped by another thread while a call ran on them") from error
        self._told |= dead.keys()
        if error is not None:
            if isinstance(error, RankError) and is_notebooks(name := error.missing_name):
                error.add_hint(_OF_THE_NOTEBOOK.format(name=name))
            raise error
        answers = [call.answers[rank] for rank in call.members]
        self._must_form = any(answer.broken or answer.interrupted for answer in answers)
        return answers

    # ------------------------------------------------------------------ life
    def holding(self, name: str) -> list[int]:
        """Return the ranks that have a variable of this name; also during a call, and of stuck ranks."""
        self._must_run()
        return self._engines.guards.holding(self._engines.members, name, _ANSWER_S)

    def status(self) -> Status:
        """Return per rank: alive, memory, its op, for how long and for which ranks it waits. Works on stuck ranks."""
        self._must_run()
        return read_status(self._engines)

    def restart(self) -> Ranks:
        """Stop, and start as many new ranks; their variables are lost."""
        self.stop()
        self._start()
        return self

    def stop(self) -> None:
        """End every process and remove every file of these ranks. A second call does nothing."""
        if self.running:
            engines, self._engines = self._engines, None
            with engines.outputs.last_words():
                engines.end()

    def __enter__(self) -> Ranks:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<{counted(self.size, 'rank')}, {'running' if self.running else 'stopped'}>"

    # ------------------------------------------------------------------ inside
    def _start(self) -> None:
        self._engines: Engines | None = None
        self._engines = Engines(self.size, self.fork, self.timeout_s)
        self._must_form = False
        self._told: set[int] = set()  # dead ranks already reported by an error
        self._tell_of_new_engines()

    def _must_run(self) -> None:
        if not self.running:
            raise RanksError("these ranks were stopped: start_ranks(n) starts others, restart() starts them again")

    def _get_ready(self) -> None:
        """Replace dead ranks and form the groups if needed. RankDied when one died since the last call ended."""
        self._must_run()
        dead, told, lost = dict(self._engines.dead), self._told, self._engines.lost
        if dead:
            with interrupts_held():  # else a new process that is no rank yet would be left over
                self._replace()
        if self._must_form:
            with interrupts_held():  # else a rank may wait in gloo, uninterruptible, for ranks that gave up
                self._engines.form()
            self._must_form = False
        if untold := {rank: code for rank, code in dead.items() if rank not in told}:
            raise RankDied(untold, how=dict.fromkeys(untold, lost), between=True)

    def _replace(self) -> None:
        self._must_form = True
        if self._engines.alive:
            self._engines.replace_dead()
        else:
            self.restart()
        self._told = set()
        self._tell_of_new_engines()

    def _tell_of_new_engines(self) -> None:
        for tell in _with_new_engines:
            tell(self._engines.client)
