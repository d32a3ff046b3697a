"""Kernels whose channels are Unix sockets.

For TCP a kernel gets ports that were free a moment before: another program on the machine may take one meanwhile, and
the kernel then ends as it starts.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client import AsyncKernelManager, KernelManager
from nbclient import NotebookClient


def _addresses(manager: KernelManager) -> dict[str, str]:
    """Return how this manager's kernel is reached: sockets in a folder that goes with the manager."""
    folder = tempfile.mkdtemp(prefix="kernel-")
    weakref.finalize(manager, shutil.rmtree, folder, ignore_errors=True)
    return {"transport": "ipc", "ip": f"{folder}/socket"}


class LocalKernelManager(KernelManager):
    """For nbval, whose kernels are started and stopped without an event loop."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**_addresses(self), **settings)


class _AsyncLocalKernelManager(AsyncKernelManager):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**_addresses(self), **settings)


class _Client(NotebookClient):
    hear: Callable[[dict[str, Any]], None] | None = None

    def process_message(self, msg: dict[str, Any], cell: nbformat.NotebookNode, cell_index: int) -> Any:
        if self.hear is not None:
            self.hear(msg)
        return super().process_message(msg, cell, cell_index)


def run_notebook(
    node: nbformat.NotebookNode, folder: Path, timeout_s: int, allow_errors: bool = False,
    hear: Callable[[dict[str, Any]], None] | None = None,
) -> None:  # fmt: skip
    """Run all cells in this folder and store their outputs in the node.

    hear   called with each message of the kernel about a cell, as it comes
    """
    client = _Client(
        node,
        timeout=timeout_s,
        allow_errors=allow_errors,
        kernel_manager_class=_AsyncLocalKernelManager,
        resources={"metadata": {"path": str(folder)}},
    )
    client.hear = hear
    client.execute()
    for cell in node.cells:
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)


def _joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Return the outputs as JupyterLab shows them: one stream where the kernel sent it in parts.

    Where it is cut depends on the moment: ipykernel sends what is there every 0.2 s, which may be in the middle of a
    line.
    """
    joined: list[nbformat.NotebookNode] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined
