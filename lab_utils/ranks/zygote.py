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
from importlib import import_module

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


PRELOADED = (
    "torch",
    "torch._dynamo",  # the first optimizer imports it: 75 MB a rank, unless it is here
    "torch.distributed.fsdp",
    "torch.distributed.pipelining",
    "torch.distributed.tensor.parallel",
    "torch.nn.parallel",
    "ipyparallel.engine.app",
    "ipykernel.ipkernel",
    "IPython.core.completer",
    "IPython.core.oinspect",
    "IPython.core.completerlib",
    "IPython.extensions.storemagic",
    "sqlite3",
    "tornado.platform.asyncio",
    "lab_utils.comm.group",
    "lab_utils.comm.progress",
    "lab_utils.ranks.on_rank",
)


def preload() -> None:
    """Import what ranks need, or would import as engines start, each for itself."""
    for module in PRELOADED:
        import_module(module)
    # Nobody attaches ipykernel's debugger to a rank, and it would load a hundred modules of debugpy's.
    sys.modules["debugpy"] = None
    import_module("ipykernel.debugger")
    del sys.modules["debugpy"]


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the notebook's to handle
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    gc.disable()  # what is imported stays; looking for garbage in it takes a tenth of the time
    preload()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # what a dead rank had started stays below us, where the reaper finds it
    order = json.loads(sys.stdin.readline() or "null")
    if order is None:
        return
    if threading.active_count() != 1:
        raise RuntimeError(f"{threading.active_count()} threads before the fork; a fork copies only one")
    gc.freeze()  # the ranks' collectors leave these pages alone, so they stay shared
    gc.enable()
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
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
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


def _prctl(option: int, value: int) -> None:
    import ctypes

    if ctypes.CDLL(None, use_errno=True).prctl(option, value):
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value})")


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


def _watch(ranks: set[int], wake: int) -> None:
    """Report each rank that ends, until the notebook is gone."""
    with selectors.DefaultSelector() as selector:
        selector.register(wake, selectors.EVENT_READ)
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd == wake:
                    os.read(wake, 4096)
                elif not os.read(key.fd, 4096):
                    return
            for pid, status in _ended():
                if pid in ranks:
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
