"""Data parallelism: shard the batch, replicate the model, aggregate the gradients, update everywhere alike."""

from lab_utils.strategies.data.all_reduce import aggregate, mean, replicate, step

__all__ = ["aggregate", "mean", "replicate", "step"]
