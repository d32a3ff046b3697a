"""Data parallelism: shard the batch, replicate the model, aggregate the gradients, update everywhere alike.

Names are loaded when they are first used: the notebook's kernel, which has no torch, unpacks what a server applied.
"""

from lab_utils.lazy import lazy

_HOME = {
    "aggregate": "all_reduce",
    "mean": "all_reduce",
    "replicate": "all_reduce",
    "step": "all_reduce",
    "Buckets": "buckets.overlapped",
    "accumulate": "gradient_accumulation",
    "ShardedOptimizer": "zero.zero1",
    "ShardedGradients": "zero.zero2",
    "ShardedParameters": "zero.zero3",
    "SynchronousServer": "parameter_server.synchronous",
    "AsynchronousServer": "parameter_server.asynchronous",
    "HalfPrecision": "compression.half_precision",
    "TopK": "compression.top_k",
    "PowerSGD": "compression.power_sgd",
    "MultiHop": "hierarchical_all_reduce",
    "LocalSGD": "local_training.local_sgd",
    "DiLoCo": "local_training.diloco",
    "compute_in_bfloat16": "lab_utils.strategies.mixed_precision",
    "recompute": "lab_utils.strategies.mixed_precision",
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy(__name__, _HOME)
