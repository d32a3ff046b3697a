"""What goes over the wire: the recorded process group, and collectives written from send and receive.

Names are loaded when they are first used, because some need torch and the notebook's kernel has none.
"""

from __future__ import annotations

from lab_utils.lazy import lazy

_HOME = {
    "BACKEND": "backends",
    "register_backend": "forming",
    "recording": "recorder",
    "phase": "recorder",
    "report": "progress",
    "chunk_flow": "chunks",
    "gradient_flow": "gradients",
    "holdings": "shards",
    "saved_for_backward": "saved",
    "Peers": "peers",
    "Message": "steps",
    "Step": "steps",
    **{f"{name}_steps": "steps" for name in ("ring", "tree", "two_level")},
    **{
        f"{algorithm}_{collective}": algorithm
        for algorithm in ("ring", "tree", "two_level")
        for collective in ("all_reduce", "reduce_scatter", "all_gather")
    },
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy(__name__, _HOME)
