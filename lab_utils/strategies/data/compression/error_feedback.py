"""Shared by the compressions: counting the bytes sent, and error feedback.

Error feedback adds what compression removed from a gradient to the next one, so that it arrives late instead of never.
Seide et al. 2014, "1-Bit Stochastic Gradient Descent" (Interspeech); why it is needed: Karimireddy et al. 2019, "Error
Feedback Fixes SignSGD and other Gradient Compression Schemes" (ICML), section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils.comm.algorithms.formulas import ring
from lab_utils.strategies.data.buckets.bucket import Bucket
from lab_utils.strategies.data.buckets.overlapped import Pending


@dataclass(eq=False)
class After:
    """Collectives in flight, and a function to call when they are done."""

    works: Sequence[Pending]
    then: Callable[[], object]

    @torch.no_grad()
    def wait(self) -> None:
        for work in self.works:
            work.wait()
        self.then()


@dataclass(eq=False)
class Counted:
    """Starts collectives, and counts in `sent_bytes` what this rank sends for them as rings (formulas.ring)."""

    sent_bytes: int = field(default=0, init=False)

    def all_reduce(self, tensor: Tensor, group: dist.ProcessGroup) -> dist.Work:
        """Start to sum a tensor over the ranks, in place."""
        self.sent_bytes += ring("all_reduce", group.size(), group.rank(), tensor.numel(), tensor.itemsize).bytes
        return dist.all_reduce(tensor, group=group, async_op=True)

    def all_gather(self, tensor: Tensor, group: dist.ProcessGroup) -> tuple[Tensor, dist.Work]:
        """Start to gather the ranks' tensors [k]; return [ranks k], filled when the work is done, and the work."""
        joined = tensor.new_empty(group.size() * tensor.numel())
        self.sent_bytes += ring("all_gather", group.size(), group.rank(), joined.numel(), joined.itemsize).bytes
        return joined, dist.all_gather_single(joined, tensor, group=group, async_op=True)


@dataclass(eq=False)
class Errors:
    """This rank's compression errors, per parameter because buckets are assigned anew after the first backward.

    In units of the bucket: an n-th of a gradient. Store an error only after the reduction has returned, so that a
    backward that fails half-way leaves none.
    """

    of: dict[nn.Parameter, Tensor] = field(default_factory=dict)

    def add_to(self, bucket: Bucket) -> None:
        for parameter, view in bucket.items():
            if parameter in self.of:
                view.add_(self.of[parameter])
