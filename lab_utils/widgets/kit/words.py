"""What a person reads of the parts that widgets share: {part: its script's words}."""

from __future__ import annotations

SCRIPTS: dict[str, dict[str, str]] = {"play": {"play": "▶ Play", "pause": "❚❚ Pause"}}
