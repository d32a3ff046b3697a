"""Programs in a fresh Python, timed from their start until they say that they are ready."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
from typing import IO

READY = "print('ready', flush=True)"
_END_S = 15.0
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def seconds_until_ready(program: str, *arguments: str) -> float:
    """Seconds from starting `python -c program arguments` until its first line, which must be "ready".

    Its stdin is then closed and its end awaited. RuntimeError, with its last words, when it fails before.
    """
    # A session of its own: Ctrl-C is ours to pass on, and what it then says goes into the file.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as words:
        began_s = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, encoding="utf-8", start_new_session=True,
        )  # fmt: skip
        try:
            line = child.stdout.readline()
            took_s = time.perf_counter() - began_s
            child.stdin.close()
            status = child.wait()
        except BaseException:
            _end(child)
            raise
        finally:
            for pipe in (child.stdin, child.stdout):
                pipe.close()
        if line.strip() != "ready" or status:
            raise RuntimeError(f"a measured program ended with exit status {status}: {_last_line(words)}")
    return took_s


def _end(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGINT)  # it ends what it started
    try:
        child.wait(_END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _last_line(words: IO[str]) -> str:
    words.seek(0)
    lines = [_COLOUR.sub("", line).strip() for line in words]
    return next((line for line in reversed(lines) if line), "it said nothing")
