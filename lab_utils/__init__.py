"""A lab in which large language models are trained in parallel, on real ranks, in a notebook."""

from __future__ import annotations

import lab_utils.render  # noqa: F401 - teaches Timeline to draw itself

__all__ = ["start_ranks"]


def __getattr__(name: str):
    if name == "start_ranks":  # loaded on use: ranks, and programs under torchrun, need no ipyparallel client
        from lab_utils.ranks import start_ranks

        return start_ranks
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
