"""PowerSGD: gradient matrices are sent as low-rank approximations, from one step of power iteration.

Vogels, Karimireddy and Jaggi 2019, "PowerSGD: Practical Low-Rank Gradient Compression for Distributed Optimization"
(NeurIPS), algorithms 1 (rank-r compression, warm start) and 2 (error feedback). Unlike top-k's entries, the factors of
all ranks can be summed by an all-reduce, so the bytes sent do not grow with the ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils.strategies.data.buckets.bucket import Bucket, views
from lab_utils.strategies.data.buckets.overlapped import Pending
from lab_utils.strategies.data.compression.error_feedback import After, Counted, Errors

Matrices = dict[nn.Parameter, Tensor]


@dataclass(eq=False)
class PowerSGD(Counted):
    """Averages gradients over the ranks: matrices approximated with rank `rank`, vectors exactly.

    >>> Buckets(model, reduce=PowerSGD(rank=2))

    rank             r: a matrix [a, b] is sent as P [a, r] and Q [b, r], or whole where that is no larger
    error_feedback   add the approximation's error to the next gradient
    seed             of the first Q, the same on all ranks

    A tensor [a, b, c, ...] counts as a matrix [a, b c ...]. Each bucket sends 2(n-1)/n itemsize times the r (a + b)
    elements per matrix and those of the vectors, in two messages: P and the vectors, then Q.
    """

    rank: int = 1
    error_feedback: bool = True
    seed: int = 0
    errors: Errors = field(default_factory=Errors, init=False)

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank={self.rank}: a matrix is approximated by one of rank 1 or more")
        self._q: Matrices = {}
        self._draw = torch.Generator().manual_seed(self.seed)

    def compresses(self, shape: torch.Size) -> bool:
        """Whether P and Q have fewer elements than the tensor."""
        return len(shape) > 1 and self.rank * (shape[0] + shape[1:].numel()) < shape.numel()

    def __call__(self, bucket: Bucket, group: dist.ProcessGroup) -> Pending:
        self.errors.add_to(bucket)
        of = dict(bucket.items())
        matrices = {p: view.flatten(1) for p, view in of.items() if self.compresses(view.shape)}
        rest = [view for p, view in of.items() if p not in matrices]
        p_and_rest = _Joined([*(m @ self._q_of(p, m) for p, m in matrices.items()), *rest])
        then = partial(self._finish, matrices, rest, p_and_rest, group)
        return After([self.all_reduce(p_and_rest.flat, group)], then)

    def _finish(self, matrices: Matrices, rest: list[Tensor], arrived: _Joined, group: dist.ProcessGroup) -> None:
        """Compute and all-reduce Q when P has arrived; replace the matrices by P Qᵀ."""
        p = dict(zip(matrices, map(_orthogonal, arrived.parts), strict=False))
        for view, total in zip(rest, arrived.parts[len(matrices) :], strict=True):
            view.copy_(total)
        if matrices:
            q = _Joined([m.T @ p[parameter] for parameter, m in matrices.items()])
            self.all_reduce(q.flat, group).wait()
            self._q.update(zip(matrices, q.parts, strict=True))
            for parameter, m in matrices.items():
                mean = p[parameter] @ self._q[parameter].T
                if self.error_feedback:
                    self.errors.of[parameter] = (m - mean / group.size()).view(parameter.shape)
                m.copy_(mean)

    def _q_of(self, parameter: nn.Parameter, m: Tensor) -> Tensor:
        """Return the last step's Q (warm start), at first a random one."""
        if parameter not in self._q:
            self._q[parameter] = torch.randn(m.shape[1], self.rank, generator=self._draw).to(m)
        return self._q[parameter]


class _Joined:
    """Tensors joined into one message, with views of its parts."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.flat = torch.cat([tensor.flatten() for tensor in tensors])
        self.parts = list(views(self.flat, [tensor.shape for tensor in tensors]))


def _orthogonal(p: Tensor) -> Tensor:
    """Return orthonormal columns with the same span."""
    exact = p if p.dtype is torch.float64 else p.float()
    return torch.linalg.qr(exact).Q.to(p)
