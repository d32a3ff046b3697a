"""Top-k: only the largest entries of a gradient are sent, with their indices; the others accumulate for later.

Stich, Cordonnier and Jaggi 2018, "Sparsified SGD with Memory" (NeurIPS), algorithm 1 with top-k; Lin et al. 2018, "Deep
Gradient Compression" (ICLR), section 3.1. Stich's memory holds learning rate times gradient, this one gradients: the
same for a constant learning rate. Lin et al. select per layer, this class per bucket, without their momentum
correction and warm-up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import torch.distributed as dist
from torch import Tensor

from lab_utils.strategies.data.buckets.bucket import Bucket
from lab_utils.strategies.data.buckets.overlapped import Pending
from lab_utils.strategies.data.compression.error_feedback import After, Counted, Errors


@dataclass(eq=False)
class TopK(Counted):
    """Sums each rank's largest entries over the ranks.

    >>> Buckets(model, reduce=TopK(0.01))

    fraction         of a bucket's entries that a rank sends: k of them, at least 1
    error_feedback   add what a rank did not send to its next gradient

    The ranks choose different entries, so they gather instead of reducing: each bucket sends (n-1) k (itemsize + 4)
    bytes, which grows with the ranks: fewer than an all-reduce while k / numel < 2 itemsize / n (itemsize + 4).
    """

    fraction: float = 0.01
    error_feedback: bool = True
    errors: Errors = field(default_factory=Errors, init=False)

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction={self.fraction} is not in (0, 1]: it is the part of the entries to send")

    def entries(self, numel: int) -> int:
        """Return k for a bucket of numel entries."""
        return max(1, round(self.fraction * numel))

    def __call__(self, bucket: Bucket, group: dist.ProcessGroup) -> Pending:
        self.errors.add_to(bucket)
        indices = bucket.flat.abs().topk(self.entries(bucket.flat.numel()), sorted=False).indices.int()
        values, sending_values = self.all_gather(bucket.flat[indices], group)
        where, sending_indices = self.all_gather(indices, group)
        bucket.flat[indices] = 0  # the rest is the error
        return After([sending_values, sending_indices], partial(self._arrived, bucket, values, where, group.size()))

    def _arrived(self, bucket: Bucket, values: Tensor, where: Tensor, ranks: int) -> None:
        if self.error_feedback:
            self.errors.of.update(zip(bucket.parameters, bucket.views_of(bucket.flat.clone()), strict=True))
        bucket.flat.zero_()
        # Rank by rank: a rank's indices are distinct, so all ranks add in the same order, on a GPU too.
        for part, indices in zip(values.chunk(ranks), where.chunk(ranks), strict=True):
            bucket.flat.index_add_(0, indices, part)
