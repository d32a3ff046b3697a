"""The guard: a thread on each rank that answers the notebook while the rank's main thread is stuck in C++.

It has three requests: `STATE` returns the rank's state, `ABORT` ends every wait for other ranks, `HOLDS` returns
whether the rank has a variable of this name. They are sent over a socket file in the ranks' private folder.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable
from multiprocessing.connection import Client, Connection, Listener, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab_utils.host.machine import socket_address

if TYPE_CHECKING:
    from lab_utils.comm.status.rank_state import RankState

STATE, ABORT, HOLDS = "state", "abort", "holds"
_held = contextlib.ExitStack()  # keeps the guard's socket address for the life of the rank


def socket_file(folder: Path | str, rank: int, pid: int) -> str:
    return f"{folder}/guard-{rank}-{pid}"


# ---------------------------------------------------------------------- on the rank
def stand_guard(path: str) -> None:
    """Start the guard thread on this socket file, once per process."""
    listener = Listener(_held.enter_context(socket_address(path)), "AF_UNIX")
    threading.Thread(target=_serve, args=(listener,), daemon=True, name="guard").start()


def _serve(listener: Listener) -> None:
    while True:
        with contextlib.suppress(EOFError, OSError), listener.accept() as connection:  # the notebook closed its end
            while True:
                number, request, value = connection.recv()
                connection.send((number, _answer(request, value)))


def _answer(request: str, value: Any) -> RankState | bool | None:
    from lab_utils.comm.process_group.forming_groups import abort_waits
    from lab_utils.comm.recorder.recorder import recorder
    from lab_utils.ranks.shipping.picklers import rank_namespace

    if request == STATE:
        return recorder.rank_state()
    if request == ABORT:
        return abort_waits(value)
    if request == HOLDS:
        return value in rank_namespace()
    raise ValueError(f"the guard knows no request {request!r}")


# ---------------------------------------------------------------------- in the notebook
class Guards:
    """The notebook's connections to the ranks' guards. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: dict[int, Connection] = {}
        self._asked = 0

    def reach(self, rank: int, path: str) -> None:
        with self._lock, socket_address(path) as address:
            if (old := self._lines.pop(rank, None)) is not None:
                old.close()
            self._lines[rank] = Client(address, "AF_UNIX")

    def rank_states(self, ranks: Iterable[int], timeout_s: float) -> dict[int, RankState]:
        """Return the states of ranks that answer in time; native code may hold a rank's interpreter."""
        return self._ask(ranks, STATE, None, timeout_s)

    def abort_waits(self, ranks: Iterable[int], epoch: int, timeout_s: float) -> None:
        """End the ranks' waits in the groups of this epoch. A late rank does so later, if its epoch is still this."""
        self._ask(ranks, ABORT, epoch, timeout_s)

    def holding(self, ranks: Iterable[int], name: str, timeout_s: float) -> list[int]:
        """Return the ranks that have a variable of this name; those that answer in time."""
        return [rank for rank, holds in sorted(self._ask(ranks, HOLDS, name, timeout_s).items()) if holds]

    def close(self) -> None:
        with self._lock:
            while self._lines:
                self._lines.popitem()[1].close()

    def _ask(self, ranks: Iterable[int], request: str, value: Any, timeout_s: float) -> dict[int, Any]:
        with self._lock:
            self._asked += 1
            waiting = {}
            for rank in ranks:
                if (line := self._lines.get(rank)) is not None:
                    with contextlib.suppress(OSError):  # the rank ended, which is reported elsewhere
                        line.send((self._asked, request, value))
                        waiting[line] = rank
            return dict(self._collect(waiting, time.monotonic() + timeout_s))

    def _collect(self, waiting: dict[Connection, int], until_s: float):
        while waiting and (left_s := until_s - time.monotonic()) > 0:
            for line in wait(list(waiting), left_s):
                try:
                    number, answer = line.recv()
                except (EOFError, OSError):
                    del waiting[line]
                    continue
                if number == self._asked:  # else a late answer to an earlier request
                    yield waiting.pop(line), answer
