"""`start_ranks(4)`: real processes as ranks of one process group, from a notebook."""

from __future__ import annotations

import itertools
import sys
import tempfile
import weakref
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab_utils.comm.board import Board
from lab_utils.ranks import on_rank
from lab_utils.ranks.call import Call, Member
from lab_utils.ranks.checks import check_request, threads_per_rank
from lab_utils.ranks.errors import RankDied, RankError, StartError, ended
from lab_utils.ranks.naming import cell_names
from lab_utils.ranks.outcomes import results_of, show, trace_of
from lab_utils.ranks.processes import CAN_FORK, Reaper, Zygote
from lab_utils.ranks.shipping import pack
from lab_utils.ranks.status import Status, read_status
from lab_utils.timeline import Trace

if TYPE_CHECKING:
    import ipyparallel as ipp

GROUP_TIMEOUT_S = 30.0
_started: weakref.WeakSet[Ranks] = weakref.WeakSet()


def start_ranks(ranks: int = 4, *, timeout_s: float = GROUP_TIMEOUT_S, fork: bool = CAN_FORK) -> Ranks:
    """Start `ranks` processes with torch loaded and the process group formed on loopback.

    >>> ranks = start_ranks(4)                      # or: with start_ranks(4) as ranks: ...
    >>> ranks.run(lambda: dist.get_rank())
    [0, 1, 2, 3]

    timeout_s   a collective that some rank never joins ends with an error after so many seconds
    fork        fork the ranks from one process that has torch loaded; the stock launcher otherwise

    StartError, one sentence, when that many ranks cannot be started here; nothing is left running then.
    """
    return Ranks(check_request(ranks, timeout_s), timeout_s, fork)


def current_ranks() -> Ranks | None:
    """The ranks that `%%ranks` speaks to: those started last, while they run."""
    running = [ranks for ranks in _started if ranks.running]
    return max(running, key=lambda ranks: ranks.number, default=None)


class Ranks:
    """Ranks of one process group. Plain ipyparallel is underneath: `client` is its Client, `%%px` works beside."""

    _numbers = itertools.count()

    def __init__(self, size: int, timeout_s: float, fork: bool):
        self.size, self.timeout_s, self.fork = size, timeout_s, fork
        self.number = next(self._numbers)
        self.running = False
        self._start()
        _started.add(self)

    # ------------------------------------------------------------------ running code
    def run(self, function: Callable | str, *args: Any, on_report: Callable | None = None, **kwargs: Any) -> list[Any]:
        """Run `function(*args, **kwargs)` on every rank; the list of results in rank order, tensors as numpy arrays.

        The function is plain torch.distributed code, or the name of one that a `%%ranks` cell defined. What ranks
        print is shown in rank order at the end. `on_report(rank, values)` is called here whenever a rank calls
        `lab_utils.comm.report(...)`. RankError names the first rank that raised.
        """
        return results_of(self._run(function, args, kwargs, False, on_report))

    def record(self, function: Callable | str, *args: Any, on_report: Callable | None = None, **kwargs: Any) -> Trace:
        """`run`, with everything that goes over the wire recorded; `trace.results` holds the list of results."""
        return trace_of(self._run(function, args, kwargs, True, on_report))

    def _run(self, function, args, kwargs, record, on_report) -> list[on_rank.Outcome]:
        payload = pack(function, args, kwargs)
        outcomes = self.call(on_rank.run, payload, cell_names(), record, on_report=on_report)
        show(outcomes)
        return outcomes

    def call(self, function: Callable, *args: Any, only: list[int] | None = None, on_report=None) -> list:
        """Call one of on_rank's functions on every rank, or on some, and wait for all of them."""
        self._ready()
        members = {r: Member(self._engines[r], self._pids[r]) for r in (range(self.size) if only is None else only)}
        self._call = call = Call(self.client, members, on_report)
        for rank in self._dead.keys() & members.keys():  # since they were found ready
            call.died(rank)
        self._must_join = True  # unless all goes well
        try:
            outcomes = call.finish(function, args)
        finally:
            self._call = None
        failures = [outcome.failure for outcome in outcomes if outcome is not None and outcome.failure]
        self._must_join = bool(failures) or bool(self._dead)
        self._raise_for_the_dead()
        if failures:
            show(outcomes)
            raise RankError(failures)
        return outcomes

    # ------------------------------------------------------------------ life
    def status(self) -> Status:
        """Per rank: alive, memory, the op it is in and since when. Answers while ranks are stuck."""
        self._must_run()
        return read_status(self._pids, set(self._dead), self._board)

    def restart(self) -> Ranks:
        """Stop, and start as many ranks afresh; what they held is gone."""
        self.stop()
        self._start()
        return self

    def stop(self) -> None:
        """End every process and remove every file of these ranks. Does nothing the second time."""
        if self.running:
            self.running = False
            self._finalizer()

    def __enter__(self) -> Ranks:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<{self.size} rank{'s' if self.size > 1 else ''}, {'running' if self.running else 'stopped'}>"

    # ------------------------------------------------------------------ inside
    def _start(self) -> None:
        """Everything started is the reaper's from its first moment, so no way of failing leaves a process."""
        self._folder = Path(tempfile.mkdtemp(prefix="lab-ranks-"))
        reaper = Reaper()
        reaper.clear(self._folder)
        self._dead: dict[int, int] = {}
        self._death: Future[int] = Future()  # exit code of the first rank that ends
        self._pids: list[int] = []
        self._call: Call | None = None
        self._must_join = True
        self._joins = itertools.count()
        self._finalizer = weakref.finalize(self, reaper.end)
        try:
            self._start_processes(reaper)
            self._join()
        except BaseException:
            self._finalizer()
            raise
        self.running = True
        _load_magics(self.client)

    def _start_processes(self, reaper: Reaper) -> None:
        log, threads = self._folder / "ranks.log", threads_per_rank(self.size)
        zygote = Zygote(log, threads) if self.fork else None
        if zygote is not None:
            reaper.adopt(zygote.process.pid)
            self._end_by(None, zygote, reaper)
        from lab_utils.ranks import cluster  # ipyparallel loads while the zygote loads torch

        controller, on_end = cluster.start_controller(self._folder, reaper), weakref.WeakMethod(self._note_end)
        if zygote is None:
            cluster.start_stock_engines(controller, self.size, reaper, threads, on_end)
        self.client = cluster.connect(controller)
        self._end_by(self.client, zygote, reaper)
        if zygote is not None:
            zygote.fork(self.size, cluster.engine_args(controller), on_end)
        cluster.wait_for_engines(self.client, self.size, zygote, self._death, log)
        self._engines = sorted(self.client.ids)
        self._board = Board.create(self._folder / "board", self.size)

    def _end_by(self, client: ipp.Client | None, zygote: Zygote | None, reaper: Reaper) -> None:
        """What is to be done when these ranks stop, or nobody has them any more."""
        self._finalizer.detach()
        self._finalizer = weakref.finalize(self, _stop, client, zygote, reaper)

    def _join(self) -> None:
        """Form the process group anew, on a fresh store."""
        store = str(self._folder / f"store-{next(self._joins)}")
        waiting = [
            self.client[engine].apply_async(
                on_rank.join, rank, self.size, store, str(self._folder / "board"), self.timeout_s, sys.path
            )
            for rank, engine in enumerate(self._engines)
        ]
        pending = {self._death, *waiting}
        while len(pending) > 1:
            done, pending = wait(pending, self.timeout_s + 10, FIRST_COMPLETED)
            if self._death in done or not done:
                self._raise_for_the_dead()
                raise StartError(f"the ranks could not form their group: {self._why_not()}")
        self._pids = [joined.result() for joined in waiting]
        self._must_join = False

    def _why_not(self) -> str:
        if self._death.done():
            return f"one of them {ended(self._death.result())}"
        return f"not all of them came within {self.timeout_s + 10:g} s"

    def _must_run(self) -> None:
        if not self.running:
            raise RuntimeError("these ranks were stopped: start_ranks(n) starts others, restart() starts them again")

    def _ready(self) -> None:
        self._must_run()
        self._raise_for_the_dead()
        if self._must_join:
            self._join()

    def _note_end(self, pid: int, exit_code: int) -> None:
        """From another thread: a rank's process ended."""
        if pid in self._pids:
            rank = self._pids.index(pid)
            self._dead[rank] = exit_code
            if (call := self._call) is not None:
                call.died(rank)
        if not self._death.done():
            self._death.set_result(exit_code)

    def _raise_for_the_dead(self) -> None:
        if self._dead:
            how = "; ".join(f"rank {rank} {ended(code)}" for rank, code in sorted(self._dead.items()))
            raise RankDied(f"{how}: ranks.restart() starts all {self.size} afresh")


def _stop(client: ipp.Client | None, zygote: Zygote | None, reaper: Reaper) -> None:
    if client is not None:
        client.close(linger=0)
    reaper.end()
    if zygote is not None:
        zygote.stop()


def _load_magics(client) -> None:
    """In a notebook: `%%ranks`, and ipyparallel's own `%%px` beside it."""
    if "IPython" not in sys.modules or sys.modules["IPython"].get_ipython() is None:
        return
    from lab_utils.ranks.magic import load

    load(client)
