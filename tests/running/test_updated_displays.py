"""nbval sees a display that is updated as the notebook stores it."""

from __future__ import annotations

from typing import Any

from nbformat import NotebookNode
from updated_displays import with_updates


def message(kind: str, text: str, name: str | None = None) -> dict[str, Any]:
    transient = {} if name is None else {"display_id": name}
    return {"msg_type": kind, "content": {"data": {"text/plain": text}, "transient": transient}}


def test_an_update_replaces_what_was_kept_and_is_no_message() -> None:
    sent = [
        message("display_data", "grows", "a"),
        message("display_data", "stays"),
        message("update_display_data", "of another kernel", "b"),
        message("update_display_data", "grown", "a"),
        {"msg_type": "status", "content": {"execution_state": "idle"}},
    ]
    waiting = iter(sent)
    get = with_updates(lambda self, timeout=None: next(waiting))
    kept = NotebookNode(output_type="display_data")
    kept["data"] = get(None, timeout=1)["content"]["data"]
    assert kept.data == {"text/plain": "grows"}
    assert get(None)["content"]["data"] == {"text/plain": "stays"}
    assert get(None)["msg_type"] == "status"
    assert kept.data == {"text/plain": "grown"}
