"""What the compressions of gradients have in common: they count what they send, and remember what they left out.

Error feedback: what compression takes away from a gradient is added to the next one, so that it arrives late instead
of never. Seide et al. 2014, "1-Bit Stochastic Gradient Descent" (Interspeech); why it is needed: Karimireddy et al.
2019, "Error Feedback Fixes SignSGD and other Gradient Compression Schemes" (ICML), section 3.
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
    """Work under way, and what is done when it is over."""

    works: Sequence[Pending]
    then: Callable[[], object]

    @torch.no_grad()
    def wait(self) -> None:
        for work in self.works:
            work.wait()
        self.then()


@dataclass(eq=False)
class Counted:
    """Starts collectives, and counts in `sent_bytes` what this rank sends for them in rings (comm.formulas.ring)."""

    sent_bytes: int = field(default=0, init=False)

    def all_reduce(self, tensor: Tensor, group: dist.ProcessGroup) -> dist.Work:
        """Sum over the ranks, in place."""
        self.sent_bytes += ring("all_reduce", group.size(), group.rank(), tensor.numel(), tensor.itemsize).bytes
        return dist.all_reduce(tensor, group=group, async_op=True)

    def all_gather(self, tensor: Tensor, group: dist.ProcessGroup) -> tuple[Tensor, dist.Work]:
        """Everybody's tensors [k] one after the other, [ranks k], once the work is over."""
        joined = tensor.new_empty(group.size() * tensor.numel())
        self.sent_bytes += ring("all_gather", group.size(), group.rank(), joined.numel(), joined.itemsize).bytes
        return joined, dist.all_gather_single(joined, tensor, group=group, async_op=True)


@dataclass(eq=False)
class Errors:
    """What this rank's gradients still lack, by parameter: buckets are cut anew after the first backward.

    It is in units of the bucket: the n-th part of a gradient. What a backward that fails half-way has left out is not
    remembered, since `keep` is for when the compressed gradients have come back.
    """

    of: dict[nn.Parameter, Tensor] = field(default_factory=dict)

    def add_to(self, bucket: Bucket) -> None:
        for parameter, view in zip(bucket.parameters, bucket.views, strict=True):
            if parameter in self.of:
                view.add_(self.of[parameter])

    def keep(self, parameter: nn.Parameter, error: Tensor) -> None:
        """From now on this is what is lacking, instead of what was."""
        self.of[parameter] = error
