"""The end of a JupyterLab server: by a signal, and when its start fails."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from itertools import count

AGAIN_S = 30


@contextlib.contextmanager
def killed_if_it_fails(process: subprocess.Popen[str]) -> Iterator[None]:
    """For what waits for a server's address: an interrupt then leaves no server."""
    try:
        yield
    except BaseException:
        process.kill()
        process.wait()
        raise


def end(process: subprocess.Popen[str], page: str, number: int = signal.SIGTERM) -> int:
    """Send the signal and wait; returns the exit status. `page` is an address of the server's.

    Python heeds a signal that comes just before it waits for events when the next one comes, and an idle server has
    none: so it is called. One that listens no more, and has no kernel left, was once seen to wait for events for
    minutes: it gets the signal again, as from a person.
    """
    port = int(re.search(r":(\d+)/", page)[1])
    for second in count():
        if second % AGAIN_S == 0:
            process.send_signal(number)
        try:
            return process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):  # it listens no more
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
