"""The rules of Google's "Trace Event Format" that a viewer relies on, as complaints about a file's content.

Written down from the document of that name (JSON object form; phases X, s, t, f, C, M), and from what Perfetto's
importer drops: spans of one thread that overlap without nesting, and arrows that bind to no span.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

Event = dict[str, Any]
REQUIRED = {
    "X": {"pid", "tid", "ts", "dur", "name", "cat"},
    "s": {"pid", "tid", "ts", "name", "cat", "id"},
    "t": {"pid", "tid", "ts", "name", "cat", "id"},
    "f": {"pid", "tid", "ts", "name", "cat", "id", "bp"},
    "C": {"pid", "ts", "name", "args"},
    "M": {"pid", "name", "args"},
}
METADATA = {"process_name": str, "process_sort_index": int, "thread_name": str, "thread_sort_index": int}


def complaints(content: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a file; nothing when a viewer shows all of it."""
    if not isinstance(content.get("traceEvents"), list):
        yield "there is no list of traceEvents"
        return
    if content.get("displayTimeUnit") not in ("ms", "ns"):
        yield "displayTimeUnit is neither ms nor ns"
    events = content["traceEvents"]
    bad = [complaint for event in events for complaint in _event(event)]
    yield from bad
    if not bad:
        yield from _nesting(events)
        yield from _arrows(events)
        yield from _names(events)


def of_phase(events: list[Event], *phases: str) -> list[Event]:
    return [event for event in events if event["ph"] in phases]


def _event(event: Event) -> Iterator[str]:
    required = REQUIRED.get(event.get("ph"))
    if required is None:
        yield f"phase {event.get('ph')!r} is none of {sorted(REQUIRED)}"
    elif missing := required - event.keys():
        yield f"{event} lacks {sorted(missing)}"
    for name in ("ts", "dur"):
        if name in event and (not isinstance(event[name], int | float) or event[name] < 0):
            yield f"{name} of {event} is not a number of µs from 0 up"
    for name in ("pid", "tid"):
        if name in event and not isinstance(event[name], int):
            yield f"{name} of {event} is not a whole number"
    if event.get("ph") == "C" and not all(isinstance(value, int | float) for value in event["args"].values()):
        yield f"{event} counts what is not a number"
    if event.get("ph") == "M" and not isinstance(_told(event), METADATA.get(event["name"], ())):
        yield f"{event} is metadata that no viewer knows"


def _told(event: Event) -> Any:
    return next(iter(event["args"].values()), None)


def _threads(events: list[Event]) -> dict[tuple[int, int], list[Event]]:
    threads: dict[tuple[int, int], list[Event]] = defaultdict(list)
    for event in of_phase(events, "X"):
        threads[event["pid"], event["tid"]].append(event)
    return threads


def _end(event: Event) -> float:
    return round(event["ts"] + event["dur"], 3)  # to the ns, which is what a viewer keeps


def _nesting(events: list[Event]) -> Iterator[str]:
    for thread, spans in _threads(events).items():
        open_until: list[float] = []
        for span in spans:
            while open_until and open_until[-1] <= span["ts"]:
                open_until.pop()
            if open_until and _end(span) > open_until[-1]:
                yield f"{span} ends after the span around it on thread {thread}"
            open_until.append(_end(span))
        if any(later["ts"] < earlier["ts"] for earlier, later in pairwise(spans)):
            yield f"spans of thread {thread} are not in order of time"


def _arrows(events: list[Event]) -> Iterator[str]:
    threads = _threads(events)
    chains: dict[tuple[str, int], list[Event]] = defaultdict(list)
    for event in of_phase(events, "s", "t", "f"):
        chains[event["cat"], event["id"]].append(event)
        spans = threads[event["pid"], event["tid"]]
        if not any(span["ts"] <= event["ts"] < _end(span) for span in spans):
            yield f"{event} binds to no span"
    for key, chain in chains.items():
        marks = "".join(event["ph"] for event in chain)
        if marks != "s" + "t" * (len(chain) - 2) + "f":
            yield f"arrow {key} is {marks}, not s, any number of t, and f"
        if any(later["ts"] < earlier["ts"] for earlier, later in pairwise(chain)):
            yield f"arrow {key} runs backwards in time"
        if len({event["name"] for event in chain}) > 1:
            yield f"arrow {key} changes its name"


def _names(events: list[Event]) -> Iterator[str]:
    named = {(event["pid"], event.get("tid")) for event in of_phase(events, "M") if event["name"] == "thread_name"}
    for thread in _threads(events).keys() - named:
        yield f"thread {thread} has no name"
    processes = {event["pid"] for event in of_phase(events, "M") if event["name"] == "process_name"}
    for process in {event["pid"] for event in events} - processes:
        yield f"process {process} has no name"
