"""What a prediction's hardware is called: by the catalogue, by its parts, or by what was changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lab_utils.text import bytes_text, flops_text, three_digits, time_text
from lab_utils.timeline.hardware import words
from lab_utils.timeline.hardware.catalogue import catalogue
from lab_utils.timeline.hardware.model import Hardware


def hardware_name(hardware: Hardware, given: Hardware | None = None) -> str:
    """Return "H100 cluster", a hand-made one's parts, or "H100 cluster, changed: latency 20.0 µs".

    given   the one that it was changed from, or whose changes it has besides its own
    """
    base = named_after(given or hardware)
    return with_changes(base_name(base), differences(base, hardware))


def named_after(hardware: Hardware) -> Hardware:
    """Return the catalogue's with the same device and links, or, if there is none, this one with compute time × 1."""
    return _like(hardware) or replace(hardware, compute_scale=1.0)


def base_name(hardware: Hardware) -> str:
    """Return the catalogue's name of it, or its parts'."""
    return next((name for name, entry in catalogue.of(Hardware).items() if entry == hardware), hardware.name)


def with_changes(name: str, changes: list[str]) -> str:
    return words.CHANGED.format(name=name, changes=", ".join(changes)) if changes else name


def differences(given: Hardware, hardware: Hardware) -> list[str]:
    """Return each number of the hardware that the given one has otherwise: "latency 20.0 µs"."""
    now, before = _numbers(hardware), _numbers(given)
    return [
        f"{words.NUMBERS[name]} {_TEXTS[name](now[name])}" for name in _TEXTS if now[name] not in (None, before[name])
    ]


def _per_second(count: float) -> str:
    return words.PER_SECOND.format(amount=bytes_text(round(count)))


# As js/controls/sliders.js has them.
_TEXTS: dict[str, Callable] = {
    "latency_s": time_text, "bytes_per_s": _per_second, "across_latency_s": time_text,
    "across_bytes_per_s": _per_second, "compute_scale": lambda factor: words.TIMES.format(factor=three_digits(factor)),
    "flops_per_s": lambda count: words.PER_SECOND.format(amount=flops_text(count)), "memory_bytes_per_s": _per_second,
    "launch_s": time_text, "issue_s": time_text, "algorithm": str,
}  # fmt: skip


def _numbers(hardware: Hardware) -> dict[str, float | str | None]:
    device, link, across = hardware.device, hardware.link, hardware.across
    return {
        "latency_s": link.latency_s, "bytes_per_s": link.bytes_per_s,
        "across_latency_s": across and across.latency_s, "across_bytes_per_s": across and across.bytes_per_s,
        "compute_scale": hardware.compute_scale, "algorithm": hardware.algorithm, "issue_s": hardware.issue_s,
        "flops_per_s": device and device.flops_per_s, "memory_bytes_per_s": device and device.memory_bytes_per_s,
        "launch_s": device and device.launch_s,
    }  # fmt: skip


def _like(hardware: Hardware) -> Hardware | None:
    return next((entry for entry in catalogue.of(Hardware).values() if _parts(entry) == _parts(hardware)), None)


def _parts(hardware: Hardware) -> tuple:
    device, across = hardware.device, hardware.across
    names = (part and part.name for part in (device, hardware.link, across))
    return (*names, hardware.ranks_per_node)
