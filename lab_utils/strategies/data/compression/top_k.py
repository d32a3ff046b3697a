"""Only the largest entries of a gradient travel, and where they belong; the others wait until they have grown.

Stich, Cordonnier and Jaggi 2018, "Sparsified SGD with Memory" (NeurIPS), algorithm 1 with top-k; Lin et al. 2018, "Deep
Gradient Compression" (ICLR), section 3.1. Stich's memory holds learning rate times gradient, here it holds gradients:
the same while the rate does not change. Lin choose the largest layer by layer, here they are a bucket's; Lin's momentum
correction and warm-up are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import torch.distributed as dist
from torch import Tensor

from lab_utils.strategies.data.buckets.bucket import Bucket, views
from lab_utils.strategies.data.buckets.overlapped import Pending
from lab_utils.strategies.data.compression.error_feedback import After, Counted, Errors


@dataclass(eq=False)
class TopK(Counted):
    """The sum over the ranks of each rank's largest entries.

    >>> Buckets(model, reduce=TopK(0.01))

    fraction         of a bucket's entries that a rank sends: k of them, at least 1
    error_feedback   what a rank did not send is added to its next gradient; False forgets it

    The ranks choose different entries, so they gather instead of reducing: each bucket sends (n-1) k (itemsize + 4)
    bytes, which grows with the ranks. Against an all-reduce it is less while k / numel < 2 itemsize / n (itemsize + 4).
    """

    fraction: float = 0.01
    error_feedback: bool = True
    errors: Errors = field(default_factory=Errors, init=False)

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction={self.fraction} is not in (0, 1]: it is the part of the entries that travels")

    def entries(self, numel: int) -> int:
        """k of so many entries."""
        return max(1, round(self.fraction * numel))

    def __call__(self, bucket: Bucket, group: dist.ProcessGroup) -> Pending:
        self.errors.add_to(bucket)
        indices = bucket.flat.abs().topk(self.entries(bucket.flat.numel()), sorted=False).indices.int()
        values, sending_values = self.all_gather(bucket.flat[indices], group)
        where, sending_indices = self.all_gather(indices, group)
        bucket.flat[indices] = 0  # what is left is the error
        return After([sending_values, sending_indices], partial(self._arrived, bucket, values, where, group.size()))

    def _arrived(self, bucket: Bucket, values: Tensor, where: Tensor, ranks: int) -> None:
        if self.error_feedback:
            self._remember(bucket)
        bucket.flat.zero_()
        # Rank by rank: no entry comes twice from one rank, so all ranks add in the same order, on a GPU too.
        for part, indices in zip(values.chunk(ranks), where.chunk(ranks), strict=True):
            bucket.flat.index_add_(0, indices, part)

    def _remember(self, bucket: Bucket) -> None:
        left = views(bucket.flat.clone(), [view.shape for view in bucket.views])
        for parameter, error in zip(bucket.parameters, left, strict=True):
            self.errors.keep(parameter, error)
