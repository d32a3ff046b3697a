"""Run programs in a fresh Python, timed from their start until they print "ready"."""

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
    """Return the seconds from starting `python -c program arguments` until its first line, which must be "ready".

    Then close its stdin and wait for its exit. RuntimeError, with its last line of stderr, when it fails.
    """
    # In a new session: Ctrl-C reaches only this process, which then interrupts the child.
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
    child.send_signal(signal.SIGINT)  # lets it stop what it started
    try:
        child.wait(_END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _last_line(words: IO[str]) -> str:
    words.seek(0)
    lines = [_COLOUR.sub("", line).strip() for line in words]
    return next((line for line in reversed(lines) if line), "it said nothing")
