"""The process that loads torch once and forks the ranks, which then share its memory.

Run as a file, without the package, so that it starts first. For each JSON line on stdin,
{"ranks": n, "engine_args": [...], "path": [...]}, it forks n ranks. It writes one line per event:
{"forked": [pid, ...]} and, for each rank that ends, {"ended": pid, "status": wait status}.
When stdin closes, the notebook is gone: it ends the ranks by SIGTERM, after a grace by SIGKILL. SIGTERM to this
process does the same.
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
import time
import traceback
import warnings
from importlib import import_module
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
END_GRACE_S = 5.0  # for ranks to flush files and run `atexit`

PRELOADED = (
    "torch",
    "torch._dynamo",  # the first optimizer imports it: 75 MB per rank unless preloaded
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
    "lab_utils.comm.process_group.forming_groups",
    "lab_utils.comm.status.progress",
    "lab_utils.ranks.on_rank.failures",
    "lab_utils.ranks.on_rank.guard_thread",
    "lab_utils.ranks.on_rank.entry_points",
)


def preload() -> None:
    """Import what ranks need and what each engine would import as it starts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # under -W error, warnings of loading libraries would raise
        for module in PRELOADED:
            import_module(module)
    # ipykernel's debugger is not used on ranks, and would load a hundred modules of debugpy.
    sys.modules["debugpy"] = None
    import_module("ipykernel.debugger")
    del sys.modules["debugpy"]


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the notebook handles Ctrl-C in a terminal
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    gc.disable()  # imports leave no garbage; collecting would take a tenth of the time
    preload()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # a dead rank's children become ours, where the reaper finds them
    if threading.active_count() != 1:
        raise RuntimeError(f"{threading.active_count()} threads before the fork; a fork copies only one")
    gc.freeze()  # the ranks' garbage collectors do not touch these pages, so they stay shared
    gc.enable()
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, _be_asked_to_end)
    ranks: set[int] = set()
    try:
        _serve(ranks, (wake_read, wake_write))
        _end(ranks, wake_read)
    finally:
        _signal(ranks, signal.SIGKILL)
    os._exit(0)  # finalizing torch would take longer than all of this


_asked_to_end = False


def _be_asked_to_end(*_: object) -> None:
    global _asked_to_end
    _asked_to_end = True


def _serve(ranks: set[int], wake: tuple[int, int]) -> None:
    """Fork ranks on request and report each rank's end, until the notebook is gone or SIGTERM comes."""
    orders, rest = sys.stdin.fileno(), b""
    with selectors.DefaultSelector() as selector:
        selector.register(wake[0], selectors.EVENT_READ)
        selector.register(orders, selectors.EVENT_READ)
        while not _asked_to_end:
            for key, _ in selector.select():
                read = os.read(key.fd, 1 << 16)
                if key.fd == orders:
                    if not read:
                        return
                    *lines, rest = (rest + read).split(b"\n")
                    for order in map(json.loads, lines):
                        forked = [_fork(order, wake) for _ in range(order["ranks"])]
                        ranks.update(forked)
                        _say({"forked": forked})
            _report_ends(ranks)


def _end(ranks: set[int], wake: int) -> None:
    """Send SIGTERM to the ranks and wait for their ends, at most END_GRACE_S."""
    _signal(ranks, signal.SIGTERM)
    until_s = time.monotonic() + END_GRACE_S
    with selectors.DefaultSelector() as selector:
        selector.register(wake, selectors.EVENT_READ)
        while ranks and (left_s := until_s - time.monotonic()) > 0:
            for key, _ in selector.select(left_s):
                os.read(key.fd, 1 << 16)
            _report_ends(ranks)


def _report_ends(ranks: set[int]) -> None:
    for pid, status in _ended():
        if pid in ranks:
            ranks.discard(pid)
            _say({"ended": pid, "status": status})


def _signal(ranks: set[int], number: int) -> None:
    for pid in ranks:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _fork(order: dict, pipes: tuple[int, int]) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:  # else the parent died before prctl
            _leave_the_fork_server(pipes)
            _become_engine(order)
    except Exception:
        traceback.print_exc()
        os._exit(1)
    finally:
        os._exit(0)  # no exit handlers of the fork server here


def _leave_the_fork_server(pipes: tuple[int, int]) -> None:
    signal.set_wakeup_fd(-1)
    for sig in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(sig, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for pipe in pipes:
        os.close(pipe)
    _detach_standard_streams()


def _prctl(option: int, value: int) -> None:
    import ctypes

    if ctypes.CDLL(None, use_errno=True).prctl(option, value):
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value})")


def _detach_standard_streams() -> None:
    """Close the pipes to the notebook, which only the fork server may hold; stdout goes to stderr, the log."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)


def _become_engine(order: dict) -> None:
    import ipyparallel.engine.app

    warnings.filterwarnings("ignore", module=r"(ipykernel|ipyparallel|jupyter_client|tornado|traitlets|zmq)\b")
    sys.path[:] = order["path"]
    sys.argv = ["ipengine", *order["engine_args"]]
    try:
        ipyparallel.engine.app.main()
    except SystemExit:  # from a program's own SIGTERM handler
        import_module("lab_utils.ranks.on_rank.ending").end_process()


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
    with contextlib.suppress(BrokenPipeError):  # the notebook is gone: stdin closes too, which ends this process
        os.write(1, (json.dumps(event) + "\n").encode())


if __name__ == "__main__":
    main()
