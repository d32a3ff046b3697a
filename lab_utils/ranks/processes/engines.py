"""The ranks' processes: start them, replace those that die, end all at once."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lab_utils.comm.process_group.membership import abort_rendezvous, agree
from lab_utils.comm.recorder.fingerprints import Fingerprints
from lab_utils.comm.status.shared_status import Board
from lab_utils.host.machine import free_port, system_error, threads_per_rank
from lab_utils.host.memory_limits import MemoryKills
from lab_utils.ranks.calls.outputs import Outputs
from lab_utils.ranks.diagnosis.errors import StartError, ended
from lab_utils.ranks.on_rank import entry_points
from lab_utils.ranks.on_rank.guard_thread import Guards, socket_file
from lab_utils.ranks.processes.child_processes import ForkServer, Reaper
from lab_utils.ranks.processes.interrupts import CalledOff
from lab_utils.ranks.shipping.surroundings import surroundings
from lab_utils.text import name_ranks

if TYPE_CHECKING:
    import ipyparallel as ipp

_JOIN_EXTRA_S = 10.0
_PUBLISHED_S = 0.5  # for what a rank published before its answer to arrive after it


class Member(NamedTuple):
    """A rank's engine number and process id."""

    engine: int
    pid: int


class Engines:
    """`size` ranks, from the start of the first process to the end of the last.

    The reaper adopts every process as it starts, so no failure leaves one behind. StartError when they cannot be
    started; nothing is left then.

    dead      {rank: exit code} of dead ranks not yet replaced
    on_death  called with the rank from another thread, or None
    """

    def __init__(self, size: int, fork: bool, timeout_s: float):
        self.size, self.timeout_s = size, timeout_s
        self.dead: dict[int, int] = {}
        self.on_death: Callable[[int], None] | None = None
        self.members: dict[int, Member] = {}
        self.epoch = 0
        self.lost = ""  # why all ranks were ended
        self.guards = Guards()
        self._ended: dict[int, int] = {}  # exit codes by process id
        self._filling = True  # a process that ends now may be a future rank
        self._death: Future[int] = Future()  # exit code of the next rank that ends
        self._noting = threading.Lock()  # else a replacement could take an old rank's end for a new one's
        self._kills = MemoryKills()
        try:
            self._begin(fork)
        except OSError as error:
            raise StartError(f"the ranks cannot be started: {system_error(error)}") from error

    def _begin(self, fork: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lab-ranks-"))
        try:
            reaper = Reaper()
        except BaseException:
            self.folder.rmdir()
            raise
        reaper.clear(self.folder)
        self._finalizer = weakref.finalize(self, reaper.end)
        try:
            self._start(reaper, fork)
            self.form()
        except BaseException:
            self._finalizer()
            raise

    def end(self) -> None:
        """End every process and remove every file. A second call does nothing."""
        self._finalizer()

    # ------------------------------------------------------------------ starting
    def _start(self, reaper: Reaper, fork: bool) -> None:
        log, threads, on_end = (
            self.folder / "ranks.log",
            threads_per_rank(self.size),
            weakref.WeakMethod(self._note_end),
        )
        fork_server = ForkServer(log, threads) if fork else None
        if fork_server is not None:
            reaper.adopt(fork_server.process.pid)
            self._end_by(reaper, fork_server, None)
            fork_server.listen(on_end)
            fork_server.ended.add_done_callback(partial(_tell_of_parent, weakref.WeakMethod(self._note_parent_end)))
        from lab_utils.ranks.processes import cluster

        controller, self.client = cluster.start_controller(self.folder, reaper)
        self._end_by(reaper, fork_server, self.client)
        self.controller_pid = controller.controller.process.pid
        cluster.watch(controller.controller, weakref.WeakMethod(self._note_controller_end))
        if fork_server is None:
            start = partial(cluster.start_stock_engines, controller, reaper=reaper, threads=threads, on_end=on_end)
        else:
            start = partial(fork_server.fork, engine_args=cluster.engine_args(controller))
        self._starting = start, fork_server, log
        self.outputs, self.called_off = Outputs(self.folder), CalledOff.create(self.folder)
        self._port = free_port()
        self.board = Board.create(self.folder / "board", self.size)
        Fingerprints.create(self.folder / "signatures", self.size)
        self._fill(range(self.size))

    def _end_by(self, reaper: Reaper, fork_server: ForkServer | None, client: ipp.Client | None) -> None:
        """Set the finalizer, which runs when these ranks stop or are garbage collected."""
        self._finalizer.detach()
        self._finalizer = weakref.finalize(self, _end, client, self.guards, fork_server, reaper)

    def _fill(self, places: range | list[int]) -> None:
        """Start a new process for each of these ranks."""
        from lab_utils.ranks.processes import cluster

        start, fork_server, log = self._starting
        self._filling = True
        with cluster.beating(self.controller_pid):
            engines = cluster.new_engines(
                self.client, partial(start, len(places)), len(places), fork_server, self._death, log
            )
        found = dict(zip(places, engines, strict=True))
        asked = {
            rank: (entry_points.enlist, rank, self.size, str(self.folder), surroundings(), self._port)
            for rank in places
        }
        pids = self._all(found, asked)
        for rank, pid in pids.items():
            self.dead.pop(rank, None)
            self.members[rank] = Member(found[rank], pid)
            self.outputs.follow(rank, pid)
            self.guards.reach(rank, socket_file(self.folder, rank, pid))
            if pid in self._ended:  # ended since it answered
                self.dead[rank] = self._ended[pid]
        self._filling = False

    # ------------------------------------------------------------------ groups
    def form(self) -> None:
        """Let all ranks leave their groups and form them again on a fresh store."""
        engines = {rank: member.engine for rank, member in self.members.items()}
        groups = self._all(engines, dict.fromkeys(engines, (entry_points.leave,)))
        self.epoch += 1
        store = str(self.folder / f"store-{self.epoch}")
        order = entry_points.form, store, self.epoch, agree([groups[rank] for rank in range(self.size)]), self.timeout_s
        try:
            self._hear(engines, self._ask(engines, dict.fromkeys(engines, order)))
        except BaseException:  # a death or an interrupt: waiting ranks must not sit out the time-out
            abort_rendezvous(store)
            raise

    def _all(self, engines: dict[int, int], calls: dict[int, tuple]) -> dict[int, Any]:
        """Call one of on_rank's functions per rank and return the results."""
        return {rank: answer.result() for answer, rank in self._ask(engines, calls).items()}

    def _ask(self, engines: dict[int, int], calls: dict[int, tuple]) -> dict[ipp.AsyncResult, int]:
        """Call one function per rank and return the answers; StartError when a rank ends before all have answered."""
        asked = {
            self.client[engine].apply_async(*calls[rank]): rank for rank, engine in engines.items()
        }  # fmt: skip
        pending = {self._death, *asked}
        while len(pending) > 1:
            done, pending = wait(pending, self.timeout_s + _JOIN_EXTRA_S, FIRST_COMPLETED)
            if self._death in done or not done:
                raise StartError(f"the ranks could not form their group: {self._why_not()}")
        for answer in asked:
            answer.result()
        return asked

    def _hear(self, engines: dict[int, int], answers: dict[ipp.AsyncResult, int]) -> None:
        """Wait until what ranks publish arrives here, asking again: what is published before zmq connects is lost.

        Without it a call that listens for reports, as a live curve's does, could wait for ever.
        """
        until_s = time.monotonic() + self.timeout_s + _JOIN_EXTRA_S
        while unheard := [rank for answer, rank in answers.items() if not answer.wait_for_output(_PUBLISHED_S)]:
            if time.monotonic() > until_s:
                raise StartError(f"what {name_ranks(unheard)} published did not arrive within {self.timeout_s:g} s")
            answers = self._ask({rank: engines[rank] for rank in unheard}, dict.fromkeys(unheard, (os.getpid,)))

    def _why_not(self) -> str:
        if self._death.done():
            return f"one of them {ended(self._death.result())}"
        return f"not all of them came within {self.timeout_s + _JOIN_EXTRA_S:g} s"

    # ------------------------------------------------------------------ deaths
    def replace_dead(self) -> None:
        """Start new processes for the ranks that died. StartError when they cannot be started."""
        with self._noting:
            self._death = Future()
            places = sorted(self.dead)
        self._fill(places)

    @property
    def alive(self) -> bool:
        """Whether dead ranks can be replaced: the fork server and the controller still run."""
        _, fork_server, _ = self._starting
        return not self.lost and (fork_server is None or not fork_server.ended.done())

    def _note_end(self, pid: int, exit_code: int) -> None:
        """Record, from another thread, that a process ended."""
        with self._noting:
            self._ended[pid] = exit_code
            ranks = [rank for rank, member in self.members.items() if member.pid == pid]
            self.dead.update(dict.fromkeys(ranks, exit_code))
            if (self._filling or ranks) and not self._death.done():  # not from an abandoned replacement
                self._death.set_result(exit_code)
        for rank in ranks:
            if self.on_death is not None:
                self.on_death(rank)

    def _note_parent_end(self) -> None:
        """Record, from another thread, that the fork server ended, and the ranks with it."""
        for member in list(self.members.values()):
            if member.pid not in self._ended:
                self._note_end(member.pid, -signal.SIGKILL)

    def _note_controller_end(self, _pid: int, exit_code: int) -> None:
        """Kill all ranks, from another thread, when the controller ended: no message reaches them any more."""
        if not self._finalizer.alive:
            return  # a regular end, in which ranks have their grace
        self.lost = f"was ended because ipyparallel's controller {ended(exit_code)}"
        for member in list(self.members.values()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(member.pid, signal.SIGKILL)

    def out_of_memory(self) -> int:
        """Return how many processes the system's OOM killer has ended since the last call."""
        return self._kills.new()


def _tell_of_parent(note: weakref.WeakMethod, _: Future) -> None:
    if (tell := note()) is not None:
        tell()


def _end(client: ipp.Client | None, guards: Guards, fork_server: ForkServer | None, reaper: Reaper) -> None:
    guards.close()
    if client is not None:
        client.close(linger=0)
    reaper.end()
    if fork_server is not None:
        fork_server.stop()
