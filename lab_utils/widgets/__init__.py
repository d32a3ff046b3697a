"""Interactive notebook widgets; each is imported on first use."""

from __future__ import annotations

from lab_utils.lazy import lazy

_HOME = {
    "CollectiveSteps": "collective_steps.widget",
    "GradientFlow": "gradient_flow.widget",
    "LiveCurve": "live_curve.widget",
    "RanksStatus": "ranks_status.widget",
    "ScheduleExplorer": "schedule_explorer.widget",
    "ShardMap": "shard_map.widget",
    "TimelineView": "timeline_view.widget",
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy(__name__, _HOME)
