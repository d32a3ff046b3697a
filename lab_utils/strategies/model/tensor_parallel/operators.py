"""The operators between a tensor that every rank of a group holds and one of which each holds a part.

Shapes:  B batch   T tokens of the whole sequence   C channels   n ranks of the group

A rank's loss is a function of what all ranks hold. Autograd on one rank knows only the paths that stay on it, so where
a tensor crosses between ranks, backward needs the transpose of what forward did:

    forward, as a matrix on the ranks' tensors stacked      its transpose, which is backward
    copy            [I; I; ..; I]      one x to n ranks     [I, I, .., I]       sum over the ranks
    reduce          [I, I, .., I]      sum over the ranks   [I; I; ..; I]       the gradient to all ranks
    gather_tokens   n parts to all     (gather, then copy)  sum, keep own part: reduce-scatter
    reduce_scatter  sum, own part                           all-gather
    scatter         own part of one x  (x exists once)      all-gather
    gather          the parts joined   (y exists once)      own part

"One x" is a tensor that all ranks hold and that counts once, as in serial training: its gradient is the same on all
ranks too. `copy` and `reduce` are f and g of Megatron-LM (Shoeybi et al. 2019, arXiv 1909.08053, section 3, figure 3);
`gather_tokens` and `reduce_scatter` are g and ḡ of sequence parallelism (Korthikanti et al. 2022, arXiv 2205.05198,
section 4.2.2, figure 5). Each operator of a group of one returns its input.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor

from lab_utils.strategies.data.zero import shard_collectives

Finish = Callable[[], Tensor]
TOKENS = -2  # the dim of the sequence in [B, T, C]


def copy(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Return x, to be used by each rank in its own way; backward sums the ranks' gradients (f of Megatron-LM)."""
    return x if group.size() == 1 else _Copy.apply(x, group)


def reduce(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Return the sum of the ranks' x; backward hands the gradient to each of them (g of Megatron-LM)."""
    return x if group.size() == 1 else _Reduce.apply(x, group)


def gather_tokens(x: Tensor, group: dist.ProcessGroup, dim: int = TOKENS) -> Tensor:
    """Return [B, T, C] of the ranks' [B, T/n, C], to be used by each rank in its own way; backward reduce-scatters."""
    return x if group.size() == 1 else _GatherTokens.apply(x, group, dim)


def reduce_scatter(x: Tensor, group: dist.ProcessGroup, dim: int = TOKENS) -> Tensor:
    """Return this rank's part [B, T/n, C] of the sum of the ranks' [B, T, C]; backward all-gathers.

    ValueError when n does not divide the dim.
    """
    return x if group.size() == 1 else _ReduceScatter.apply(x, group, dim)


def scatter(x: Tensor, group: dist.ProcessGroup, dim: int = TOKENS) -> Tensor:
    """Return this rank's part of an x that all ranks hold; backward all-gathers. ValueError when n does not divide."""
    return x if group.size() == 1 else _Scatter.apply(x, group, dim)


def gather(x: Tensor, group: dist.ProcessGroup, dim: int = TOKENS) -> Tensor:
    """Return the ranks' parts joined, where all ranks compute the same from it; backward keeps the own part."""
    return x if group.size() == 1 else _Gather.apply(x, group, dim)


def own_part(x: Tensor, group: dist.ProcessGroup, dim: int = TOKENS) -> Tensor:
    """Return this rank's part of an x, a view. ValueError when the ranks do not divide the dim."""
    ranks = group.size()
    check_divides(x.shape[dim], ranks)
    return x.unflatten(dim, (ranks, -1)).select(dim if dim >= 0 else dim - 1, group.rank())


def check_divides(tokens: int, ranks: int) -> None:
    """ValueError unless the sequence is cut into equal parts."""
    if tokens % ranks:
        raise ValueError(
            f"{tokens} tokens are not divisible by tp = {ranks}, and sequence parallelism cuts them into equal parts: "
            f"{tokens // ranks * ranks or ranks} or {(tokens // ranks + 1) * ranks} would fit"
        )


# ---------------------------------------------------------------------- what is in flight
def start_all_reduce(x: Tensor, group: dist.ProcessGroup) -> Finish:
    """Start to sum x over the ranks, in its own memory; return what waits for it and returns it."""
    work = dist.all_reduce(x, group=group, async_op=True)

    def finish() -> Tensor:
        work.wait()
        return x

    return finish


def start_all_gather(part: Tensor, group: dist.ProcessGroup, dim: int = TOKENS) -> Finish:
    """Start to join the ranks' parts along dim; return what waits for it and returns the whole."""
    dim %= part.dim()
    pieces = part.new_empty(group.size(), *part.shape)
    work = shard_collectives.all_gather(pieces.view(-1), part.contiguous().view(-1), group)

    def finish() -> Tensor:
        work.wait()
        return pieces.movedim(0, dim).flatten(dim, dim + 1)

    return finish


def start_reduce_scatter(whole: Tensor, group: dist.ProcessGroup, dim: int = TOKENS) -> Finish:
    """Start to sum this rank's part of the ranks' x; return what waits for it and returns the part."""
    dim %= whole.dim()
    check_divides(whole.shape[dim], group.size())
    pieces = whole.unflatten(dim, (group.size(), -1)).movedim(dim, 0).contiguous()
    part = pieces.new_empty(pieces.shape[1:])
    exchanged = shard_collectives.is_exchanged(pieces)
    room = pieces.new_empty(shard_collectives.room_numel(pieces, group)) if exchanged else None
    work, add = shard_collectives.reduce_scatter(pieces.view(-1), part.view(-1), group, room)

    def finish() -> Tensor:
        work.wait()
        add()
        return part

    return finish


# ---------------------------------------------------------------------- forward and backward
class _Copy(torch.autograd.Function):
    """y_r = x on each rank r, so dL/dx = Σ_r (∂y_r/∂x)ᵀ dL/dy_r = Σ_r dL/dy_r: backward sums over the ranks."""

    @staticmethod
    def forward(ctx, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx, dy: Tensor) -> tuple:
        dx = dy.clone(memory_format=torch.contiguous_format)
        return start_all_reduce(dx, ctx.group)(), None


class _Reduce(torch.autograd.Function):
    """y = Σ_r x_r counts once, so dL/dx_r = (∂y/∂x_r)ᵀ dL/dy = dL/dy, which every rank has: nothing is sent.

    An all-reduce whose backward all-reduces as well would hand each rank n · dL/dy.
    """

    @staticmethod
    def forward(ctx, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        y = x.clone(memory_format=torch.contiguous_format)
        return start_all_reduce(y, group)()

    @staticmethod
    def backward(ctx, dy: Tensor) -> tuple:
        return dy, None


class _GatherTokens(torch.autograd.Function):
    """y_r = [x_1, .., x_n] on each rank r, so dL/dx_s = Σ_r (part s of dL/dy_r): a reduce-scatter."""

    @staticmethod
    def forward(ctx, x: Tensor, group: dist.ProcessGroup, dim: int) -> Tensor:
        ctx.of = group, dim
        return start_all_gather(x, group, dim)()

    @staticmethod
    def backward(ctx, dy: Tensor) -> tuple:
        return start_reduce_scatter(dy, *ctx.of)(), None, None


class _ReduceScatter(torch.autograd.Function):
    """y_s = part s of Σ_r x_r, so part s of dL/dx_r = dL/dy_s on each rank r: an all-gather."""

    @staticmethod
    def forward(ctx, x: Tensor, group: dist.ProcessGroup, dim: int) -> Tensor:
        ctx.of = group, dim
        return start_reduce_scatter(x, group, dim)()

    @staticmethod
    def backward(ctx, dy: Tensor) -> tuple:
        return start_all_gather(dy, *ctx.of)(), None, None


class _Scatter(torch.autograd.Function):
    """y_s = part s of an x that counts once: part s of dL/dx is dL/dy_s, and all ranks need the whole: all-gather."""

    @staticmethod
    def forward(ctx, x: Tensor, group: dist.ProcessGroup, dim: int) -> Tensor:
        ctx.of = group, dim
        return own_part(x, group, dim).clone(memory_format=torch.contiguous_format)

    @staticmethod
    def backward(ctx, dy: Tensor) -> tuple:
        return start_all_gather(dy, *ctx.of)(), None, None


class _Gather(torch.autograd.Function):
    """y = [x_1, .., x_n] counts once, so dL/dx_s = part s of dL/dy, which every rank has: nothing is sent."""

    @staticmethod
    def forward(ctx, x: Tensor, group: dist.ProcessGroup, dim: int) -> Tensor:
        ctx.of = group, dim
        return start_all_gather(x, group, dim)()

    @staticmethod
    def backward(ctx, dy: Tensor) -> tuple:
        return own_part(dy, *ctx.of), None, None
