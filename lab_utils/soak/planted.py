"""A fault on a rank: it strikes when the program reaches its place."""

from __future__ import annotations

import builtins
import os
import resource
import signal
import threading
from collections import Counter
from collections.abc import Iterator

from lab_utils.soak.beacon import tell
from lab_utils.soak.faults import Fault

ROOM_BYTES = 64 << 20  # what a rank at its memory limit may still allocate
_BLOCK_FLOATS = 12 * 2**20  # 48 MB: above 32 MB malloc does not reuse freed memory
_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


class Planted:
    """One fault in a program; None, or another rank's fault, never strikes."""

    def __init__(self, fault: Fault | None, rank: int, beacon: int):
        self.how = "" if fault is None else fault.how
        self._fault = fault if fault is not None and fault.rank == rank else None
        self._beacon = beacon
        self._step, self._visits = -1, Counter[str]()
        self._late: threading.Timer | None = None

    def begin(self, step: int) -> None:
        self._step = step
        self._visits.clear()

    def at(self, place: str) -> str:
        """Mark that a place is reached and make the fault there. Return its kind if the program is to act on it."""
        self._visits[place] += 1
        fault, here = self._fault, (self._step, place, self._visits[place] - 1)
        if fault is None or here != (fault.step, fault.place, fault.visit):
            return ""
        if fault.kind in _SIGNALS:
            return self._signal_in(fault.late_s, _SIGNALS[fault.kind])
        tell(self._beacon)
        if fault.kind == "exception":
            raise getattr(builtins, fault.how)(message(fault))
        if fault.kind == "memory":
            _use_up_memory()
        return fault.kind

    def finish(self) -> None:
        """Wait for a delayed fault: the program must not end before it."""
        if self._late is not None:
            self._late.join()

    def _signal_in(self, late_s: float, number: signal.Signals) -> str:
        if late_s == 0:
            self._signal(number)
        else:
            self._late = threading.Timer(late_s, self._signal, (number,))
            self._late.start()
        return ""

    def _signal(self, number: signal.Signals) -> None:
        tell(self._beacon)
        os.kill(os.getpid(), number)


def message(fault: Fault) -> str:
    """Return the text of the planted exception."""
    return f"fault {fault.number} of the soak"


# ---------------------------------------------------------------------- memory
def _use_up_memory() -> None:
    """Allocate until the allocator raises, ROOM_BYTES from here. The soak lifts the limit afterwards."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + ROOM_BYTES, hard))
    held = list(_blocks())
    raise AssertionError(f"{len(held)} blocks fitted into {ROOM_BYTES} bytes: this system keeps no RLIMIT_DATA")


def _blocks() -> Iterator[object]:
    import torch

    for _ in range(2 * ROOM_BYTES // (4 * _BLOCK_FLOATS)):
        yield torch.empty(_BLOCK_FLOATS, dtype=torch.float32)


def _data_bytes() -> int:
    """Return the bytes that count against RLIMIT_DATA."""
    with open("/proc/self/status", encoding="utf-8") as status:
        line = next(line for line in status if line.startswith("VmData:"))
    return 1024 * int(line.split()[1])
