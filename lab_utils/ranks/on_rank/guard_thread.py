"""The guard: a thread on each rank that answers the notebook while the rank's main thread is stuck in C++.

It knows two requests: `STAND`, where the rank stands, and `CUT`, end every wait for other ranks. They come over a
socket file in the ranks' private folder.
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

STAND, CUT = "stand", "cut"
_held = contextlib.ExitStack()  # what the guard's socket needs for as long as the rank lives


def socket_file(folder: Path | str, rank: int, pid: int) -> str:
    return f"{folder}/guard-{rank}-{pid}"


# ---------------------------------------------------------------------- on the rank
def stand_guard(path: str) -> None:
    """Start answering at this socket file, once in a process."""
    listener = Listener(_held.enter_context(socket_address(path)), "AF_UNIX")
    threading.Thread(target=_serve, args=(listener,), daemon=True, name="guard").start()


def _serve(listener: Listener) -> None:
    while True:
        with contextlib.suppress(EOFError, OSError), listener.accept() as connection:  # the notebook's end closed
            while True:
                number, request, value = connection.recv()
                connection.send((number, _answer(request, value)))


def _answer(request: str, value: Any) -> RankState | None:
    from lab_utils.comm.process_group.rendezvous import cut
    from lab_utils.comm.recorder.recorder import recorder

    if request == STAND:
        return recorder.rank_state()
    if request == CUT:
        return cut(value)
    raise ValueError(f"the guard knows no request {request!r}")


# ---------------------------------------------------------------------- in the notebook
class Guards:
    """The notebook's lines to the ranks' guards. May be asked from several threads."""

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
        """Where the ranks stand, without those that do not answer in time: native code holds their interpreter."""
        return self._ask(ranks, STAND, None, timeout_s)

    def cut(self, ranks: Iterable[int], epoch: int, timeout_s: float) -> None:
        """End the ranks' waits in the groups of this epoch; one that is late does it later, if they are still those."""
        self._ask(ranks, CUT, epoch, timeout_s)

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
                    with contextlib.suppress(OSError):  # it ended, which we hear elsewhere
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
                if number == self._asked:  # else one to an earlier question, which came late
                    yield waiting.pop(line), answer
