"""What a person sees and touches in the notebook while the ranks work."""

from lab_utils.widgets.collective_steps import CollectiveSteps
from lab_utils.widgets.gradient_flow import GradientFlow
from lab_utils.widgets.live_curve import LiveCurve
from lab_utils.widgets.norm_map import NormMap
from lab_utils.widgets.ranks_status import RanksStatus
from lab_utils.widgets.schedule_explorer import ScheduleExplorer
from lab_utils.widgets.shard_map import ShardMap
from lab_utils.widgets.timeline_view import TimelineView

__all__ = [
    "CollectiveSteps", "GradientFlow", "LiveCurve", "NormMap", "RanksStatus", "ScheduleExplorer", "ShardMap",
    "TimelineView",
]  # fmt: skip
