"""The processes behind the ranks: a reaper, a zygote that forks ranks (where there is fork), and their ends."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import weakref
from concurrent.futures import Future
from pathlib import Path

_HERE = Path(__file__).parent
CAN_FORK = sys.platform == "linux"


class Reaper:
    """Ends what it was told of when `end()` is called, and just as well when this process dies first."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(_HERE / "reaper.py")], stdin=subprocess.PIPE, text=True, start_new_session=True
        )

    def adopt(self, pid: int) -> None:
        self._tell(f"pid {pid}")

    def clear(self, folder: Path) -> None:
        """Delete this folder too, at the end."""
        self._tell(f"folder {folder}")

    def _tell(self, line: str) -> None:
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def end(self) -> None:
        if not self._process.stdin.closed:
            self._process.stdin.close()
        self._process.wait()


class Zygote:
    """Loads torch at once, forks the ranks when told to, and tells of each rank's end."""

    def __init__(self, log: Path, threads: int):
        wished = {"OMP_NUM_THREADS": str(threads), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        environment = wished | os.environ | {"GLOO_SOCKET_IFNAME": "lo"}  # ranks talk on loopback and nowhere else
        with open(log, "ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, str(_HERE / "zygote.py")],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True, start_new_session=True,
                env=environment,
            )  # fmt: skip
        self.ended: Future[None] = Future()

    def listen(self, on_end: weakref.WeakMethod) -> None:
        """From now on `on_end(pid, exit code)` is called from a thread for each rank that ends.

        Held weakly: the thread must not keep alive what nobody else has any more.
        """
        threading.Thread(target=self._listen, args=(on_end,), daemon=True, name="ranks: zygote").start()

    def fork(self, ranks: int, engine_args: list[str]) -> None:
        """Fork so many, as soon as torch is loaded."""
        order = {"ranks": ranks, "engine_args": engine_args, "path": sys.path}
        with contextlib.suppress(BrokenPipeError):  # it is gone, as `ended` tells
            os.write(self.process.stdin.fileno(), (json.dumps(order) + "\n").encode())

    def _listen(self, on_end: weakref.WeakMethod) -> None:
        with self.process.stdout as events:
            for event in map(json.loads, events):
                tell = on_end()
                if "ended" in event and tell is not None:
                    tell(event["ended"], os.waitstatus_to_exitcode(event["status"]))
                del tell
        self.ended.set_result(None)

    def stop(self) -> None:
        """Let go of the process, which is the reaper's to end."""
        self.process.stdin.close()
        self.process.wait()
