"""What starts a server leaves none when it is interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from server_ends import killed_if_it_fails


def test_an_interrupt_before_the_address_leaves_no_server() -> None:
    server = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, encoding="utf-8")
    with server.stdin, pytest.raises(KeyboardInterrupt), killed_if_it_fails(server):
        raise KeyboardInterrupt
    assert server.returncode == -signal.SIGKILL
