"""Displays that a notebook updates later, as it stores them: nbval compares each as it was first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nbformat import NotebookNode, from_dict

Message = dict[str, Any]


def with_updates(get: Callable[..., Message]) -> Callable[..., Message]:
    """Return a method like `get`, of nbval, in whose displays later updates appear; the updates are no messages."""
    shown: dict[str, NotebookNode] = {}

    def message(self: object, *args: Any, **kwargs: Any) -> Message:
        while True:
            got = get(self, *args, **kwargs)
            content, kind = got["content"], got["msg_type"]
            name = content.get("transient", {}).get("display_id") if "data" in content else None
            if name is None:
                return got
            if kind != "update_display_data":
                shown[name] = content["data"] = from_dict(content["data"])  # nbval keeps this very object
                return got
            if name in shown:
                shown[name].clear()
                shown[name].update(from_dict(content["data"]))

    return message
