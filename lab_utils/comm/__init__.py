"""Communication: the recorded process group, and collectives built from send and receive.

Names are loaded on first use, because some need torch and the notebook's kernel has none.
"""

from __future__ import annotations

from lab_utils.lazy import lazy

_HOME = {
    "BACKEND": "process_group.backends",
    "register_backend": "process_group.forming_groups",
    "recording": "recorder.recorder",
    "phase": "recorder.recorder",
    "report": "status.progress",
    "chunk_flow": "lab_utils.widgets.collective_steps.probe",
    "gradient_flow": "lab_utils.widgets.gradient_flow.probe",
    "holdings": "lab_utils.widgets.shard_map.probe",
    "saved_for_backward": "lab_utils.widgets.shard_map.probe_activations",
    "Peers": "algorithms.point_to_point",
    **{
        f"{algorithm}_{collective}": f"algorithms.{algorithm}"
        for algorithm in ("ring", "tree", "two_level")
        for collective in ("all_reduce", "reduce_scatter", "all_gather")
    },
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy(__name__, _HOME)
