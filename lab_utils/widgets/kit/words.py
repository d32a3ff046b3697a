"""What a person reads of the parts that widgets share: {part: its script's words}."""

from __future__ import annotations

SCRIPTS: dict[str, dict[str, str]] = {
    "play": {"play": "▶ Play", "pause": "❚❚ Pause"},
    "parts/alive": {"kernel_gone": "kernel gone: run the cell again"},
    "parts/keys": {"what_keys_do": "What the keys do"},
}
