"""Pipeline parallelism: cut the layers into stages and run micro-batches through them in any schedule's order.

Names are loaded on first use: reading a trace needs no torch, so the notebook's kernel can do it.
"""

from lab_utils.lazy import lazy

_HOME = {
    "cut": "stages",
    "Stage": "stages",
    "Pipeline": "pipeline",
    "step": "pipeline",
    "snapshot": "pipeline",
    "StageError": "errors",
    "Feed": "input_pipeline.feed",
    "executed": "executed_order",
    "staged": "executed_order",
    "measured_costs": "measured_op_costs",
    "bubble": "executed_order",
    "ops_of": "executed_order",
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy(__name__, _HOME)
