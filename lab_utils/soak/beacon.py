"""A rank tells the moment at which a fault strikes it, from any thread, and even if it is dead a moment later."""

from __future__ import annotations

import select
import socket
import struct
import time

_LOOPBACK = "127.0.0.1"
_MOMENT = struct.Struct("<d")  # seconds of time.perf_counter, which is the machine's own clock on every process


class Beacon:
    """Listens on a port of loopback: a datagram arrives before its sending returns, and leaves nothing behind."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((_LOOPBACK, 0))
        self.port: int = self._socket.getsockname()[1]

    def wait(self, timeout_s: float) -> float | None:
        """The moment that a rank told first, in seconds of time.perf_counter; None when none did in time."""
        if not select.select([self._socket], [], [], timeout_s)[0]:
            return None
        return _MOMENT.unpack(self._socket.recv(_MOMENT.size))[0]

    def __enter__(self) -> Beacon:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def tell(port: int) -> None:
    """Tell the beacon at this port that it is now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.sendto(_MOMENT.pack(time.perf_counter()), (_LOOPBACK, port))
