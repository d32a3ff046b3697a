"""The sliders of a timeline, to and from numbers: the hardware of a trace, or the costs of a schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from lab_utils.schedule import Costs, Schedule
from lab_utils.schedule import simulate as simulate_schedule
from lab_utils.text import bytes_text, three_digits, time_text
from lab_utils.timeline import Timeline, Trace
from lab_utils.timeline.hardware import Hardware, Link
from lab_utils.timeline.hardware.naming import base_name, hardware_name, named_after, with_changes
from lab_utils.timeline.hardware.words import TIMES
from lab_utils.timeline.simulator.simulate import costs, simulate
from lab_utils.widgets.timeline_view import words

PER_STAGE = ("forward", "backward_input", "backward_weight")  # of Costs: one for all stages, or one per stage


def numbers(hardware: Hardware) -> dict[str, Any]:
    """Return the numbers for a trace's costs in the browser, units in the names; `layout` selects the wires' rows."""
    device, across = hardware.device, hardware.across
    return {
        "flops_per_s": device and device.flops_per_s,
        "memory_bytes_per_s": device and device.memory_bytes_per_s,
        "launch_s": 0.0 if device is None else device.launch_s,
        "issue_s": hardware.issue_s,
        "latency_s": hardware.link.latency_s,
        "bytes_per_s": hardware.link.bytes_per_s,
        "across_latency_s": across and across.latency_s,
        "across_bytes_per_s": across and across.bytes_per_s,
        "algorithm": hardware.algorithm,
        "compute_scale": hardware.compute_scale,
        "layout": hardware.ranks_per_node,
    }


def numbers_of_costs(given: Costs) -> dict[str, float]:
    """Return the same for a schedule; a cost given per stage becomes a common factor, 1.0."""
    by_stage = {name: getattr(given, name) for name in PER_STAGE}
    return {name: 1.0 if np.ndim(cost) else float(cost) for name, cost in by_stage.items()} | {
        "comm": float(given.comm)
    }


def by_stage(given: Costs, name: str, stages: int) -> np.ndarray:
    """Return float64[stages] by which a cost's slider value is multiplied: 1 if the cost is for all stages."""
    return given.of_stages(name, stages) if np.ndim(getattr(given, name)) else np.ones(stages)


class Sliders(Protocol):
    """Sliders that set the trait `name` of TimelineView; `choices` lists the presets, the given one first."""

    name: str
    choices: list[Any]

    def label(self, choice: Any) -> str: ...

    def base(self, choice: Any) -> tuple[str, Any]:
        """Return (name, value) of what the choice, and what sliders make of it, are named as changed from."""

    def accepted(self, value: Any) -> Any:
        """Return the value as these sliders represent it. ValueError if they cannot."""

    def numbers(self, value: Any) -> dict[str, Any]:
        """Return the numbers that the browser computes with."""

    def value(self, setting: dict[str, Any]) -> Any:
        """Return the value for the browser's numbers."""

    def place(self, value: Any, choice: Any) -> Timeline:
        """Return the timeline for a value, named after the choice that it was changed from."""


class OfHardware:
    """Sliders of a timeline that was predicted from a trace."""

    name = "hardware"

    def __init__(self, trace: Trace, given: Hardware, more: Sequence[Hardware]) -> None:
        """Compute costs on each hardware now, so that no slider fails later."""
        self.trace, self.choices = trace, [given, *(each for each in more if each != given)]
        for choice in self.choices[1:]:
            costs(trace.lowered, choice)

    def label(self, choice: Hardware) -> str:
        return hardware_name(choice)

    def base(self, choice: Hardware) -> tuple[str, Hardware]:
        return base_name(named_after(choice)), named_after(choice)

    def accepted(self, value: Hardware) -> Hardware:
        known = [choice.ranks_per_node for choice in self.choices]
        if value.ranks_per_node not in known:
            raise ValueError(words.UNKNOWN_NODES.format(ranks=value.ranks_per_node, known=", ".join(map(str, known))))
        return value

    def numbers(self, value: Hardware) -> dict[str, Any]:
        return numbers(value)

    def value(self, setting: dict[str, Any]) -> Hardware:
        """Return the chosen hardware with the sliders' numbers; a changed link is named after its numbers."""
        choice = self.choices[setting["choice"]]
        link = _link(choice.link, setting["latency_s"], setting["bytes_per_s"])
        across = choice.across and _link(choice.across, setting["across_latency_s"], setting["across_bytes_per_s"])
        return replace(choice, link=link, across=across, compute_scale=setting["compute_scale"])

    def place(self, value: Hardware, choice: Hardware) -> Timeline:
        return simulate(self.trace, value, choice)


class OfCosts:
    """Sliders of a schedule's timeline. Costs given per stage are scaled together by a factor."""

    name = "costs"

    def __init__(self, schedule: Schedule, given: Costs) -> None:
        self.schedule, self.given = schedule, _plain(given)
        self.choices = [self.given]

    def label(self, choice: Costs) -> str:
        return self.schedule.name

    def base(self, choice: Costs) -> tuple[str, Costs]:
        return self.schedule.name, choice

    def accepted(self, value: Costs) -> Costs:
        """Round-trip through the sliders' numbers, which may change the last bit, to match the browser."""
        if _plain(value).activation_bytes != self.given.activation_bytes:
            raise ValueError(words.ONLY_TIMES)
        return self.value(self.numbers(value))

    def numbers(self, value: Costs) -> dict[str, Any]:
        return {name: self._number(name, value) for name in PER_STAGE} | {"comm": float(value.comm)}

    def value(self, setting: dict[str, Any]) -> Costs:
        each = {name: self._moved(name, setting[name]) for name in PER_STAGE}
        return replace(self.given, **each, comm=setting["comm"])

    def place(self, value: Costs, choice: Costs) -> Timeline:
        placed, now, given = simulate_schedule(self.schedule, value), self.numbers(value), self.numbers(choice)
        changes = [f"{label} {self._text(name, now[name])}" for name, label in words.COSTS if now[name] != given[name]]
        made_from = replace(placed.prediction, name=with_changes(self.schedule.name, changes))
        return replace(placed, prediction=made_from)

    def _text(self, name: str, number: float) -> str:
        by_stage = np.ndim(getattr(self.given, name))
        return TIMES.format(factor=three_digits(number)) if by_stage else time_text(number)

    def _moved(self, name: str, number: float) -> float | tuple[float, ...]:
        given = by_stage(self.given, name, self.schedule.stages)
        return tuple((given * number).tolist()) if np.ndim(getattr(self.given, name)) else number

    def _number(self, name: str, value: Costs) -> float:
        """Return the slider value of this cost."""
        given, wanted = (by_stage(self.given, name, self.schedule.stages), value.of_stages(name, self.schedule.stages))
        largest = int(np.argmax(given))
        number = float(wanted[largest] / given[largest]) if given[largest] else 0.0
        if not np.allclose(wanted, given * number, rtol=1e-12, atol=0.0):
            raise ValueError(words.STAGES_TOGETHER.format(name=name, value=getattr(value, name)))
        return number


def _plain(costs: Costs) -> Costs:
    """Return the costs with arrays converted to tuples, so that they can be compared."""
    each = {name: getattr(costs, name) for name in (*PER_STAGE, "activation_bytes")}
    return replace(costs, **{name: tuple(map(float, cost)) for name, cost in each.items() if np.ndim(cost)})


def sliders_of(timeline: Timeline, more: Sequence[Hardware]) -> Sliders | None:
    """Return the timeline's sliders, None if measured. ValueError for `more` without a trace to place."""
    made_from = timeline.prediction
    if getattr(made_from, "lowered", None) is not None:
        return OfHardware(made_from.trace, made_from.hardware, more)
    if more:
        raise ValueError(words.NO_TRACE.format(kind=timeline.kind))
    return None if made_from is None else OfCosts(made_from.schedule, made_from.costs)


def _link(link: Link, latency_s: float, bytes_per_s: float) -> Link:
    if (latency_s, bytes_per_s) == (link.latency_s, link.bytes_per_s):
        return link
    name = words.MOVED_LINK.format(latency=time_text(latency_s), bandwidth=bytes_text(bytes_per_s))
    return Link(name, latency_s, bytes_per_s)
