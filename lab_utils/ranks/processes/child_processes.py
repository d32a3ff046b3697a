"""The processes behind the ranks: a reaper, and on Linux a server that forks the ranks and reports their ends."""

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


def own_ipython(folder: Path) -> dict[str, str]:
    """Return the environment that keeps IPython's files in the ranks' folder.

    The user's startup files are for notebooks; with a read-only HOME, IPython leaves a folder in TMPDIR per process.
    """
    return {"IPYTHONDIR": str(folder / "ipython")}


class Reaper:
    """Ends adopted processes when `end()` is called, or when this process dies first.

    A reaper process that is killed is replaced at once.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._lock = threading.Lock()
        self._ending = False
        self._start()
        threading.Thread(target=self._replace_when_killed, daemon=True, name="ranks: reaper").start()

    def adopt(self, pid: int) -> None:
        self._tell(f"pid {pid}\n")

    def clear(self, folder: Path) -> None:
        """Also delete this folder at the end."""
        self._tell(f"folder {folder}\n")

    def end(self) -> None:
        with self._lock:
            self._ending = True
        self._finish()
        if self._process.returncode:  # killed before it was done
            self._start()
            self._finish()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(_HERE / "reaper.py"), str(os.getpid())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True,
        )  # fmt: skip
        self._write("".join(self._lines))

    def _tell(self, line: str) -> None:
        with self._lock:
            self._lines.append(line)
            self._write(line)

    def _write(self, lines: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # killed: the next one gets all lines
            self._process.stdin.write(os.fsencode(lines))

    def _finish(self) -> None:
        with self._process.stdout:
            self._process.stdin.close()
            self._process.wait()

    def _replace_when_killed(self) -> None:
        """Thread: start a new reaper when one ends. Reads its output, since wait() holds Popen's lock, in forks too."""
        while True:
            self._process.stdout.read()
            with self._lock:
                if self._ending:
                    return
                self._finish()
                self._start()


class ForkServer:
    """Loads torch at once, forks ranks on request, and reports each rank's end."""

    def __init__(self, log: Path, threads: int):
        wished = {
            "OMP_NUM_THREADS": str(threads), "PYDEVD_DISABLE_FILE_VALIDATION": "1",
            "TORCHINDUCTOR_CACHE_DIR": str(log.parent / "inductor"),  # torch._dynamo's import makes one in /tmp
        }  # fmt: skip
        own = {"GLOO_SOCKET_IFNAME": "lo"}  # ranks communicate on loopback only
        environment = wished | os.environ | own | own_ipython(log.parent)
        with open(log, "ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, str(_HERE / "fork_server.py")],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, encoding="utf-8", start_new_session=True,
                env=environment,
            )  # fmt: skip
        self.ended: Future[None] = Future()

    def listen(self, on_end: weakref.WeakMethod) -> None:
        """Call `on_end(pid, exit code)` from a thread for each rank that ends from now on.

        A weak reference, so that the thread does not keep its object alive.
        """
        threading.Thread(target=self._listen, args=(on_end,), daemon=True, name="ranks: fork server").start()

    def fork(self, ranks: int, engine_args: list[str]) -> None:
        """Fork `ranks` ranks, as soon as torch is loaded."""
        order = {"ranks": ranks, "engine_args": engine_args, "path": sys.path}
        with contextlib.suppress(BrokenPipeError):  # it ended, which `ended` reports
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
        """Close its stdin and wait for it to end; the reaper ends it."""
        self.process.stdin.close()
        self.process.wait()
