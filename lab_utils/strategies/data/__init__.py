"""Data parallelism: shard the batch, replicate the model, aggregate the gradients, update every replica equally.

Names are loaded on first use: the notebook's kernel has no torch, and unpickles a server's log.
"""

from lab_utils.lazy import lazy

_HOME = {
    "aggregate": "all_reduce",
    "mean": "all_reduce",
    "replicate": "all_reduce",
    "step": "all_reduce",
    "Buckets": "buckets.overlapped",
    "accumulate": "gradient_accumulation",
    "ShardedOptimizer": "zero.zero1_and_zero2",
    "ShardedGradients": "zero.zero1_and_zero2",
    "ShardedParameters": "zero.zero3",
    "SynchronousServer": "parameter_server.synchronous",
    "AsynchronousServer": "parameter_server.asynchronous",
    "HalfPrecision": "compression.half_precision",
    "TopK": "compression.top_k",
    "PowerSGD": "compression.power_sgd",
    "MultiHop": "hierarchical_all_reduce",
    "LocalSGD": "local_training",
    "DiLoCo": "local_training",
    "compute_in_bfloat16": "lab_utils.strategies.mixed_precision",
    "recompute": "lab_utils.strategies.mixed_precision",
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy(__name__, _HOME)
