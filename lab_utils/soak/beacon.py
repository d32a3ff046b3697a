"""Sends the time at which a fault strikes a rank, from any thread, even if the rank dies right after."""

from __future__ import annotations

import select
import socket
import struct
import time

_LOOPBACK = "127.0.0.1"
_MOMENT = struct.Struct("<d")  # seconds of time.perf_counter, one clock for all processes of the machine


class Beacon:
    """Listens on a loopback port: a datagram arrives before its send returns, and needs no cleanup."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((_LOOPBACK, 0))
        self.port: int = self._socket.getsockname()[1]

    def wait(self, timeout_s: float) -> float | None:
        """Return the first time that a rank sent, in seconds of time.perf_counter; None when none came in time."""
        if not select.select([self._socket], [], [], timeout_s)[0]:
            return None
        return _MOMENT.unpack(self._socket.recv(_MOMENT.size))[0]

    def __enter__(self) -> Beacon:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def tell(port: int) -> None:
    """Send the current time to the beacon at this port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.sendto(_MOMENT.pack(time.perf_counter()), (_LOOPBACK, port))
