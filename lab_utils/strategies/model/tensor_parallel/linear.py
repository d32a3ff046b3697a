"""A linear layer cut by columns or by rows.

Shapes:  B batch   T tokens of the whole sequence   I inputs, O outputs of the whole layer   n ranks of tp

Y = X Wᵀ + b with W [O, I]. By columns each rank has O/n of the outputs, by rows I/n of the inputs, and a column layer
followed by a row layer needs one sum over the ranks each way (Shoeybi et al. 2019, arXiv 1909.08053, section 3):

    column  Y_r = X W_rᵀ + b_r        X is whole on all ranks; dX = Σ_r dY_r W_r is summed in backward
    row     Y = Σ_r X_r W_rᵀ + b      X_r is what the column layer before left here; b is added once, after the sum

With sequence parallelism X and Y are [B, T/n, ..]: the sums become reduce-scatters, and X is gathered, once more in
backward rather than kept (Korthikanti et al. 2022, arXiv 2205.05198, section 4.2.2).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from lab_utils.strategies.mesh import Mesh
from lab_utils.strategies.model.tensor_parallel.operators import (
    start_all_gather,
    start_all_reduce,
    start_reduce_scatter,
)


class ColumnLinear(nn.Module):
    """This rank's columns: x [B, T, I] (with sequence parallelism [B, T/n, I]) -> [B, T, O/n].

    weight     [O/n, I], or [I, O/n] as transformers' Conv1D has it (transposed)
    bias       [O/n] or None
    together   the layers that read the same x, such as query, key and value; alone by default
    """

    def __init__(
        self,
        weight: nn.Parameter,
        bias: nn.Parameter | None,
        mesh: Mesh,
        *,
        sequence: bool = False,
        transposed: bool = False,
        together: SharedInput | None = None,
    ) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self.mesh, self.sequence, self.transposed = mesh, sequence, transposed
        self.together = SharedInput() if together is None else together
        self.together.layers.append(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.together.output(self, x)

    def extra_repr(self) -> str:
        return _shape_of(self) + f", of tp = {self.mesh.tp}"


class SharedInput:
    """Column layers that read the same x: its gradient is the sum of theirs, and is reduced over the ranks once.

    The first of them that is called with an x computes all, and the others take what is theirs.
    """

    def __init__(self) -> None:
        self.layers: list[ColumnLinear] = []
        self._of: Tensor | None = None
        self._outputs: dict[ColumnLinear, Tensor] = {}

    def output(self, layer: ColumnLinear, x: Tensor) -> Tensor:
        if self._of is not x or layer not in self._outputs:
            self._outputs, self._of = dict(zip(self.layers, self._compute(x), strict=True)), x
        y = self._outputs.pop(layer)
        if not self._outputs:
            self._of = None
        return y

    def _compute(self, x: Tensor) -> tuple[Tensor, ...]:
        first = self.layers[0]
        weights = [layer.weight.t() if layer.transposed else layer.weight for layer in self.layers]
        x, *tensors = _autocast(x, *weights, *(layer.bias for layer in self.layers))
        return _Columns.apply(x, first.mesh.group("tp"), first.sequence, *tensors)


class RowLinear(nn.Module):
    """This rank's rows: x [B, T, I/n] -> [B, T, O], summed over the ranks (with sequence parallelism [B, T/n, O]).

    weight  [O, I/n], or [I/n, O] as transformers' Conv1D has it (transposed)
    bias    [O] or None, on every rank
    """

    def __init__(
        self,
        weight: nn.Parameter,
        bias: nn.Parameter | None,
        mesh: Mesh,
        *,
        sequence: bool = False,
        transposed: bool = False,
    ) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self.mesh, self.sequence, self.transposed = mesh, sequence, transposed

    def forward(self, x: Tensor) -> Tensor:
        x, weight, bias = _autocast(x, self.weight.t() if self.transposed else self.weight, self.bias)
        return _Rows.apply(x, weight, bias, self.mesh.group("tp"), self.sequence)

    def extra_repr(self) -> str:
        return _shape_of(self) + f", of tp = {self.mesh.tp}"


class _Columns(torch.autograd.Function):
    """Y_k = X W_kᵀ + b_k for the layers k that read X, of which this rank has its columns.

    dX = Σ_r Σ_k dY_k W_k    over the ranks r, because each rank's columns are functions of the same X
    dW_k = dY_kᵀ X, db_k = Σ_tokens dY_k    of this rank's columns alone
    The sum over the ranks is under way while dW is computed, as it needs only dX.
    """

    @staticmethod
    def forward(ctx, x: Tensor, group: dist.ProcessGroup, sequence: bool, *tensors: Tensor | None):
        layers = len(tensors) // 2
        weights, biases = tensors[:layers], tensors[layers:]
        ctx.group, ctx.sequence = group, sequence
        ctx.save_for_backward(x, *weights)  # with sequence parallelism a rank keeps T/n tokens
        whole = start_all_gather(x, group)() if sequence else x
        return tuple(F.linear(whole, weight, bias) for weight, bias in zip(weights, biases, strict=True))

    @staticmethod
    def backward(ctx, *dys: Tensor):
        x, *weights = ctx.saved_tensors
        wanted_x, wanted = ctx.needs_input_grad[0], ctx.needs_input_grad[3:]
        gathered = start_all_gather(x, ctx.group) if ctx.sequence and any(wanted[: len(weights)]) else lambda: x
        flat = [dy.flatten(0, -2) for dy in dys]
        reduced = _input_gradient(flat, weights, dys[0].shape[:-1], ctx) if wanted_x else lambda: None
        whole = gathered().flatten(0, -2)
        dws = [dy.t() @ whole if want else None for dy, want in zip(flat, wanted, strict=False)]
        dbs = [dy.sum(0) if want else None for dy, want in zip(flat, wanted[len(weights) :], strict=True)]
        return reduced(), None, None, *dws, *dbs


def _input_gradient(dys: Sequence[Tensor], weights: Sequence[Tensor], shape: torch.Size, ctx):
    """Compute this rank's part of dX and start its sum over the ranks."""
    dx = dys[0] @ weights[0]
    for dy, weight in zip(dys[1:], weights[1:], strict=True):
        dx.addmm_(dy, weight)
    start = start_reduce_scatter if ctx.sequence else start_all_reduce
    return start(dx.view(*shape, -1), ctx.group)


class _Rows(torch.autograd.Function):
    """Y = Σ_r X_r W_rᵀ + b, over the ranks r, of which this one has X_r and W_r.

    dX_r = dY W_r, dW_r = dYᵀ X_r    as Y counts once, its gradient is the same on all ranks and nothing is summed
    db = Σ_tokens dY                 once, since b was added once; with sequence parallelism of this rank's tokens
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None, group: dist.ProcessGroup, sequence: bool):
        ctx.group, ctx.sequence = group, sequence
        ctx.save_for_backward(x, weight)
        start = start_reduce_scatter if sequence else start_all_reduce
        y = start(F.linear(x, weight), group)()
        return y if bias is None else y.add_(bias)

    @staticmethod
    def backward(ctx, dy: Tensor):
        x, weight = ctx.saved_tensors
        wanted_x, wanted_weight, wanted_bias = ctx.needs_input_grad[:3]
        gathered = start_all_gather(dy, ctx.group) if ctx.sequence else lambda: dy
        db = dy.flatten(0, -2).sum(0) if wanted_bias else None
        whole = gathered()
        dx = whole @ weight if wanted_x else None
        dw = whole.flatten(0, -2).t() @ x.flatten(0, -2) if wanted_weight else None
        return dx, dw, db, None, None


def _autocast(*tensors: Tensor | None) -> list[Tensor | None]:
    """Cast float32 as torch.autocast does for a linear layer, outside of our functions, so that autograd casts back."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return list(tensors)
    dtype = torch.get_autocast_dtype(device)
    return [t.to(dtype) if t is not None and t.dtype is torch.float32 else t for t in tensors]


def _shape_of(layer: ColumnLinear | RowLinear) -> str:
    outputs, inputs = layer.weight.shape[::-1] if layer.transposed else layer.weight.shape
    return f"in_features={inputs}, out_features={outputs}, bias={layer.bias is not None}"
