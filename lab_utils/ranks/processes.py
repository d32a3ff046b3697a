"""The processes behind the ranks: a reaper, a zygote that forks ranks (where there is fork), and their ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
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
        environment = {
            "OMP_NUM_THREADS": str(threads),
            "GLOO_SOCKET_IFNAME": "lo",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }
        with open(log, "ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, str(_HERE / "zygote.py")],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True, start_new_session=True,
                env=environment | os.environ,
            )  # fmt: skip
        self.ended = threading.Event()

    def fork(self, ranks: int, engine_args: list[str], on_end: Callable[[int, int], None]) -> None:
        """Fork once torch is loaded; `on_end(pid, wait status)` is called from a thread for each rank that ends."""
        order = {"ranks": ranks, "engine_args": engine_args, "path": sys.path}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        threading.Thread(target=self._listen, args=(on_end,), daemon=True, name="ranks: zygote").start()

    def _listen(self, on_end: Callable[[int, int], None]) -> None:
        for line in self.process.stdout:
            event = json.loads(line)
            if "ended" in event:
                on_end(event["ended"], event["status"])
        self.ended.set()

    def stop(self) -> None:
        """Take back what the pipes hold; the process itself is the reaper's to end."""
        for pipe in (self.process.stdin, self.process.stdout):
            pipe.close()
        self.process.wait()
