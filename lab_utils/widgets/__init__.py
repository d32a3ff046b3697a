"""What a person sees and touches in the notebook while the ranks work."""

from lab_utils.widgets.live_curve import LiveCurve

__all__ = ["LiveCurve"]
