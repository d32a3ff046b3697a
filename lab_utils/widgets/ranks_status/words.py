"""The words of RanksStatus: Python's, and SCRIPT, the scripts' part, with {placeholders}."""

from __future__ import annotations

from collections.abc import Sequence

from lab_utils.text import name_ranks

SCRIPT = {"rank": "rank", "memory": "memory", "doing": "doing", "for": "for", "waits_for": "waits for"}

LOST = "Stopped: nothing refers to these ranks any more."
STOPPED = "These ranks are stopped: ranks.restart() starts them again."
NO_LOOK = "Cannot read the status of the ranks now: {error}."
AT_WORK, IDLE = "At work.", "Idle: no call runs."
MEMORY = "{size} MB"
HOURS, MINUTES, SECONDS = "{count} h", "{count} min", "{count} s"


def of_ranks(count: int) -> str:
    return f"{count} rank{'s' if count > 1 else ''}"


def title(count: int) -> str:
    return f"What the {of_ranks(count)} do" if count > 1 else "What the rank does"


def status_of(count: int) -> str:
    return f"status of {of_ranks(count)}"


def gone(ranks: Sequence[int]) -> str:
    return f"{_are(ranks)} gone: the next ranks.run starts {_them(ranks)} again."


def stopped(ranks: Sequence[int]) -> str:
    return f"{_are(ranks)} stopped by a signal: SIGCONT lets {_them(ranks)} go on."


def _are(ranks: Sequence[int]) -> str:
    return f"{name_ranks(ranks).capitalize()} {'are' if len(ranks) > 1 else 'is'}"


def _them(ranks: Sequence[int]) -> str:
    return "them" if len(ranks) > 1 else "it"
