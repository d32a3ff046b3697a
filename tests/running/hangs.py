"""A test that hangs says where it, and each process under it, stands; its own are ended, so that it fails by itself."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

# Before pytest's own limits (pyproject.toml): `timeout` raises in the test, which may go on to wait for its processes,
# and `faulthandler_timeout` ends whatever is left of the test process.
LIMIT_S = 300.0
_DUMP_S = 20.0
_CLOCKS_S = 2.0  # the system tells a process's start on a clock that differs by up to a second
_PY_SPY = Path(sys.executable).parent / "py-spy"


@contextlib.contextmanager
def ended_if_it_hangs(item: pytest.Item, limit_s: float = LIMIT_S) -> Iterator[None]:
    timer = threading.Timer(limit_s, _end, [item, limit_s, time.time()])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _end(item: pytest.Item, limit_s: float, began_s: float) -> None:
    below = psutil.Process().children(recursive=True)
    own = [process for process in below if process.create_time() >= began_s - _CLOCKS_S]  # not shared ranks
    here = traceback.format_stack(sys._current_frames()[threading.main_thread().ident])
    said = [f"\n{item.nodeid} has not ended after {limit_s:g} s.", *here, *map(rank_state, below)]
    with item.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(*said, sep="\n", file=sys.stderr, flush=True)
    for process in own:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def rank_state(process: psutil.Process) -> str:
    """What it runs, and the stack of each of its threads; of a process that is not Python, why there are none."""
    try:
        line = f"---- {process.pid}, child of {process.ppid()}, {process.status()}: {' '.join(process.cmdline())[:300]}"
        command = [_PY_SPY, "dump", "--pid", str(process.pid)]
        dump = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=_DUMP_S)
    except (psutil.Error, subprocess.TimeoutExpired) as error:
        return str(error)
    return f"{line}\n{dump.stdout}{dump.stderr}"
