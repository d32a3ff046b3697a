"""The process that loads torch once and forks the ranks, which then share its memory.

Run as a file, without the package: it must be up before anything else is. It reads one JSON line from stdin,
{"ranks": n, "engine_args": [...], "path": [...]}, forks, and answers with one line per event:
{"forked": [pid, ...]} and, for each rank that ends, {"ended": pid, "status": wait status}.
When stdin closes, the notebook is gone, and so go the ranks.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1


def preload() -> None:
    """Import what ranks need. The first optimizer imports torch._dynamo: 75 MB a rank, unless it is here."""
    import ipyparallel.engine.app
    import ipykernel.ipkernel
    import IPython.core.completer
    import torch
    import torch._dynamo
    import torch.distributed.fsdp
    import torch.distributed.pipelining
    import torch.distributed.tensor.parallel
    import torch.nn.parallel  # noqa: F401


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the notebook's to handle
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    preload()
    order = json.loads(sys.stdin.readline() or "null")
    if order is None:
        return
    if threading.active_count() != 1:
        raise RuntimeError(f"{threading.active_count()} threads before the fork; a fork copies only one")
    gc.collect()
    gc.freeze()
    parent = os.getpid()
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    pids = [_fork(order, parent, (wake_read, wake_write)) for _ in range(order["ranks"])]
    _say({"forked": pids})
    try:
        _watch(set(pids), wake_read)
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _fork(order: dict, parent: int, pipes: tuple[int, int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)
    signal.set_wakeup_fd(-1)
    for sig in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(sig, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for pipe in pipes:
        os.close(pipe)
    _detach_standard_streams()
    _become_engine(order)
    os._exit(0)


def _detach_standard_streams() -> None:
    """Only the zygote may hold the pipes to the notebook; a rank's own words go to the log, which is stderr."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)


def _become_engine(order: dict) -> None:
    import ipyparallel.engine.app

    sys.path[:] = order["path"]
    sys.argv = ["ipengine", *order["engine_args"]]
    ipyparallel.engine.app.main()


def _watch(alive: set[int], wake: int) -> None:
    """Report each rank that ends, until all have or the notebook is gone."""
    with selectors.DefaultSelector() as selector:
        selector.register(wake, selectors.EVENT_READ)
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        while alive:
            for key, _ in selector.select():
                if key.fd == wake:
                    os.read(wake, 4096)
                elif not os.read(key.fd, 4096):
                    return
            for pid, status in _ended():
                alive.discard(pid)
                _say({"ended": pid, "status": status})


def _ended():
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status


def _say(event: dict) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody listens any more: stdin closes too, and that ends us
        os.write(1, (json.dumps(event) + "\n").encode())


if __name__ == "__main__":
    main()
