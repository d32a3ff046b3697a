"""A gradient matrix travels as two thin ones: its best low-rank approximation, after one step of power iteration.

Vogels, Karimireddy and Jaggi 2019, "PowerSGD: Practical Low-Rank Gradient Compression for Distributed Optimization"
(NeurIPS), algorithms 1 (rank-r compression, warm start) and 2 (error feedback). Unlike the largest entries, thin
matrices of all ranks can be summed: an all-reduce does it, and what travels does not grow with the ranks.
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
    """The mean over the ranks, of rank `rank` for each matrix and exact for vectors.

    >>> Buckets(model, reduce=PowerSGD(rank=2))

    rank             r: a matrix [a, b] travels as P [a, r] and Q [b, r]; where that is not less, it travels whole
    error_feedback   what the approximation lacks is added to the next gradient; False forgets it
    seed             of the first Q, which must be the same on all ranks

    A tensor [a, b, c, ...] counts as a matrix [a, b c ...]. Each bucket sends 2(n-1)/n itemsize times r (a + b) for
    each matrix and what each vector has, in two messages: P and the vectors, then Q.
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
        """Whether the thin matrices have fewer elements than the tensor."""
        return len(shape) > 1 and self.rank * (shape[0] + shape[1:].numel()) < shape.numel()

    def __call__(self, bucket: Bucket, group: dist.ProcessGroup) -> Pending:
        self.errors.add_to(bucket)
        of = dict(zip(bucket.parameters, bucket.views, strict=True))
        matrices = {p: view.flatten(1) for p, view in of.items() if self.compresses(view.shape)}
        rest = [view for p, view in of.items() if p not in matrices]
        p_and_rest = _Joined([*(m @ self._q_of(p, m) for p, m in matrices.items()), *rest])
        return After(
            [self.all_reduce(p_and_rest.flat, group)], partial(self._half_way, matrices, rest, p_and_rest, group)
        )

    def _half_way(self, matrices: Matrices, rest: list[Tensor], arrived: _Joined, group: dist.ProcessGroup) -> None:
        p = dict(zip(matrices, map(_orthogonal, arrived.parts), strict=False))
        for view, total in zip(rest, arrived.parts[len(matrices) :], strict=True):
            view.copy_(total)
        if matrices:
            q = _Joined([m.T @ p[parameter] for parameter, m in matrices.items()])
            self.all_reduce(q.flat, group).wait()
            self._q.update(zip(matrices, q.parts, strict=True))
            for parameter, m in matrices.items():
                self._replace(parameter, m, p[parameter] @ self._q[parameter].T, group.size())

    def _replace(self, parameter: nn.Parameter, m: Tensor, mean: Tensor, ranks: int) -> None:
        """What all ranks have agreed on, for this rank's matrix."""
        if self.error_feedback:
            self.errors.keep(parameter, (m - mean / ranks).view(parameter.shape))
        m.copy_(mean)

    def _q_of(self, parameter: nn.Parameter, m: Tensor) -> Tensor:
        """Where the last step ended, to go on from there; drawn at first."""
        if parameter not in self._q:
            self._q[parameter] = torch.randn(m.shape[1], self.rank, generator=self._draw).to(m)
        return self._q[parameter]


class _Joined:
    """Tensors as one message, and their parts of it."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.flat = torch.cat([tensor.flatten() for tensor in tensors])
        self.parts = list(views(self.flat, [tensor.shape for tensor in tensors]))


def _orthogonal(p: Tensor) -> Tensor:
    """Orthonormal columns that span the same."""
    exact = p if p.dtype is torch.float64 else p.float()
    return torch.linalg.qr(exact).Q.to(p)
