"""The processes behind the ranks: a reaper, a server that forks ranks (where there is fork), and their ends."""

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
    """Ranks keep IPython's files with their own: the user's startup files are for notebooks, and HOME may be read-only.

    IPython would then make a folder in TMPDIR for each process, and remove none of them.
    """
    return {"IPYTHONDIR": str(folder / "ipython")}


class Reaper:
    """Ends what it was told of when `end()` is called, and just as well when this process dies first.

    One that somebody kills is replaced at once: nothing that was started is ever without a reaper for long.
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
        """Delete this folder too, at the end."""
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
        with contextlib.suppress(BrokenPipeError):  # killed: the next one is told
            self._process.stdin.write(os.fsencode(lines))

    def _finish(self) -> None:
        with self._process.stdout:
            self._process.stdin.close()
            self._process.wait()

    def _replace_when_killed(self) -> None:
        """From a thread. Reads to the end of its output: waiting would hold Popen's lock, also in a fork of ours."""
        while True:
            self._process.stdout.read()
            with self._lock:
                if self._ending:
                    return
                self._finish()
                self._start()


class ForkServer:
    """Loads torch at once, forks the ranks when told to, and tells of each rank's end."""

    def __init__(self, log: Path, threads: int):
        wished = {
            "OMP_NUM_THREADS": str(threads), "PYDEVD_DISABLE_FILE_VALIDATION": "1",
            "TORCHINDUCTOR_CACHE_DIR": str(log.parent / "inductor"),  # torch._dynamo makes one in /tmp at its import
        }  # fmt: skip
        own = {"GLOO_SOCKET_IFNAME": "lo"}  # ranks talk on loopback and nowhere else
        environment = wished | os.environ | own | own_ipython(log.parent)
        with open(log, "ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, str(_HERE / "fork_server.py")],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, encoding="utf-8", start_new_session=True,
                env=environment,
            )  # fmt: skip
        self.ended: Future[None] = Future()

    def listen(self, on_end: weakref.WeakMethod) -> None:
        """From now on `on_end(pid, exit code)` is called from a thread for each rank that ends.

        Held weakly: the thread must not keep alive what nobody else has any more.
        """
        threading.Thread(target=self._listen, args=(on_end,), daemon=True, name="ranks: fork server").start()

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
