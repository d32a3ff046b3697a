"""Mixtures of experts: each token goes to k of E feed-forward networks, which are split over the ranks.

Names are loaded on first use: the notebook's kernel has no torch, and draws the load.
"""

from lab_utils.lazy import lazy

_HOME = {
    "Load": "load",
    "draw_load": "load_picture",
    "Router": "router",
    "Experts": "feed_forward",
    "MixtureOfExperts": "layer",
    "expert_parallel": "layer",
    "with_experts": "layer",
    "balance_loss": "balance",
    "count_first": "balance",
    "measured": "balance",
    "update_bias": "balance",
    "from_transformers": "mixtral",
    "Mixture": "plan_entry",
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy(__name__, _HOME)
