"""Numbers as people read them: three digits and a unit. The same number always gives the same text."""

from __future__ import annotations

TIME_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
BYTE_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
FLOP_UNITS = ((1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"))


def time_unit(seconds: float) -> tuple[float, str]:
    """(length in seconds, name) of the unit in which `seconds` is read best: s, ms or µs."""
    return next((unit for unit in TIME_UNITS if abs(seconds) >= unit[0]), TIME_UNITS[-1])


def time_text(seconds: float) -> str:
    """0.00123 → "1.23 ms"."""
    if seconds == 0:
        return "0 s"
    size_s, name = time_unit(seconds)
    return f"{three_digits(seconds / size_s)} {name}"


def bytes_text(size_bytes: int) -> str:
    """1_048_576 → "1.05 MB": powers of ten, as for links."""
    for size, name in BYTE_UNITS:
        if size_bytes >= size:
            return f"{three_digits(size_bytes / size)} {name}"
    return "1 byte" if size_bytes == 1 else f"{size_bytes} bytes"


def flops_text(flops: int) -> str:
    """128_000_000 → "128 MFLOP": how many, not how many a second."""
    for size, name in FLOP_UNITS:
        if flops >= size:
            return f"{three_digits(flops / size)} {name}"
    return f"{flops} FLOP"


def percent_text(fraction: float) -> str:
    """0.3125 → "31.2 %"."""
    return f"{100 * fraction:.1f} %"


def three_digits(value: float) -> str:
    """1.234 → "1.23", 12.34 → "12.3", 1234.5 → "1,234" (never an exponent)."""
    decimals = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:,.{decimals}f}"
