"""What one rank has said: the bytes of its streams, and the displays between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lab_utils.text import as_on_a_terminal


@dataclass(slots=True)
class Said:
    """One rank's output that has not been shown yet: the bytes of its streams, and its displays as it wrote them.

    A display's `written` is its position: the bytes of stdout and of stderr before it.
    """

    stdout: bytes = b""
    stderr: bytes = b""
    displays: list[dict[str, Any]] = field(default_factory=list)

    def parts(self) -> list[str | dict[str, Any]]:
        """Return texts of stdout and the displays between them, with clears and updates applied."""
        parts, at = [], 0
        for display in self.displays:
            until = max(at, display["written"][0])
            if display.get("clear"):
                parts, at = [], until
                continue
            parts += [_text(self.stdout[at:until]), display]
            at = until
            if (
                display["update"]
                and (first := _first_of(parts[:-1], display["transient"].get("display_id"))) is not None
            ):
                parts[first] = display | {"update": False}
                parts.pop()
        return [part for part in (*parts, _text(self.stdout[at:])) if part]

    def says_something(self) -> bool:
        """Whether anything is left to show."""
        texts = (part.strip("\n") if isinstance(part, str) else "a display" for part in self.parts())
        return any(texts) or bool(self.errors().strip("\n"))

    def errors(self) -> str:
        cleared = [display["written"][1] for display in self.displays if display.get("clear")]
        return _text(self.stderr[max([0, *cleared]) :])


def _first_of(parts: list, display_id: str | None) -> int | None:
    ids = [None if isinstance(part, str) else part["transient"].get("display_id") for part in parts]
    return ids.index(display_id) if display_id in ids and display_id is not None else None


def _text(said: bytes) -> str:
    return as_on_a_terminal(said.decode("utf-8", "replace"))
