"""Ctrl-C at moments that leave something half done: while a call is sent."""

from __future__ import annotations

import signal
import time

import ipyparallel as ipp
import pytest
import stuck_programs as programs
from stuck_programs import agree

from lab_utils import start_ranks


def test_an_interrupt_while_a_call_is_sent_ends_it_on_all_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    send, sent = ipp.Client.send_apply_request, []

    def interrupted(*args: object, **kwargs: object) -> object:
        sent.append(1)
        if len(sent) == 2:  # the first rank has the call, the second has not
            signal.raise_signal(signal.SIGINT)
        return send(*args, **kwargs)

    with start_ranks(3) as ranks:
        start = time.perf_counter()
        with monkeypatch.context() as patched:
            patched.setattr(ipp.Client, "send_apply_request", interrupted)
            with pytest.raises(KeyboardInterrupt, match="^ranks 0-2 interrupted$"):
                ranks.run(programs.wait_for_one_another)
        assert ranks.run(agree) == [3.0] * 3
        assert time.perf_counter() - start < 8.0
