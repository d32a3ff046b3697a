"""Data parallelism: shard the batch, replicate the model, aggregate the gradients, update everywhere alike.

Names are loaded when they are first used: the notebook's kernel, which has no torch, unpacks what a server applied.
"""

from lab_utils.lazy import lazy

_HOME = {
    "aggregate": "all_reduce",
    "mean": "all_reduce",
    "replicate": "all_reduce",
    "step": "all_reduce",
    "Buckets": "buckets",
    "accumulate": "shares",
    "ShardedOptimizer": "zero1",
    "ShardedGradients": "zero2",
    "ShardedParameters": "zero3",
    "SynchronousServer": "server",
    "AsynchronousServer": "server_async",
    "HalfPrecision": "half_precision",
    "TopK": "top_k",
    "PowerSGD": "power_sgd",
    "MultiHop": "multi_hop",
    "LocalSGD": "local",
    "DiLoCo": "diloco",
    "compute_in_bfloat16": "precision",
    "recompute": "precision",
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy(__name__, _HOME)
