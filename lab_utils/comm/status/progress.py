"""`report(step=3, loss=2.1)`: progress of a long program, sent to a listener.

On a rank started by the lab the notebook listens; elsewhere (torchrun, a test) it is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

_log = logging.getLogger("lab_utils.report")
_listener: Callable[[dict], None] | None = None


def listen(listener: Callable[[dict], None] | None) -> None:
    """Send every later report of this process to `listener`; None sends them to the log again."""
    global _listener
    _listener = listener


def report(**values: float | int | str) -> None:
    """Publish named values, such as step and loss, from inside a running program."""
    if _listener is not None:
        _listener(values)
    else:
        _log.info(" ".join(f"{name}={value}" for name, value in values.items()))
