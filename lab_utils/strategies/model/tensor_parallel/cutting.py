"""Cutting a linear layer, and the sentences about what cannot be cut."""

from __future__ import annotations

from torch import nn

from lab_utils.strategies.model.placement import Shard
from lab_utils.strategies.model.tensor_parallel.linear import ColumnLinear, SharedInput
from lab_utils.strategies.model.tensor_parallel.plan import At, Found

_OF_EMBEDDING = {"max_norm": None, "scale_grad_by_freq": False, "sparse": False}  # what can be split


def linear(found: Found, split: str) -> tuple[int, int, bool]:
    """Return inputs, outputs and whether the weight is [inputs, outputs]. ValueError for what is no linear layer."""
    module = found.module
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features, False
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):  # transformers', which needs no import here
        return *module.weight.shape, True
    raise ValueError(f"{found.called} is no linear layer: {split}() splits nn.Linear and transformers' Conv1D")


def cut_columns(found: Found, shard: Shard, at: At, together: SharedInput) -> None:
    """Put a ColumnLinear with this rank's outputs in the layer's place; `shard` is that of its outputs."""
    module, transposed = found.module, linear(found, "Column")[2]
    weight = at.cut(module.weight, Shard("tp", 1, shard.parts, shard.pieces) if transposed else shard)
    bias = None if module.bias is None else at.cut(module.bias, shard)
    found.replace(ColumnLinear(weight, bias, at.mesh, sequence=at.sequence, transposed=transposed, together=together))


# ---------------------------------------------------------------------- what does not divide
def check_divides(found: Found, said: str, size: int, at: At) -> None:
    """ValueError, with what would fit, unless tp divides the size."""
    if size % at.mesh.tp:
        raise ValueError(f"{found.called} has {said}, which tp = {at.mesh.tp} does not divide: {_fitting(size)}")


def check_heads(found: Found, queries: int, fewest: int, ranks: int) -> None:
    """ValueError, with what would fit, unless each rank gets as many query heads and they read its KV heads alone."""
    fits = [n for n in _divisors(queries) if fewest % n == 0 or n % fewest == 0]
    if ranks not in fits:
        shared = f" and {fewest} KV heads" if fewest < queries else ""
        raise ValueError(
            f"{found.called} has {queries} heads{shared}, which cannot be shared out over tp = {ranks}: tp can be "
            f"{', '.join(map(str, fits))}"
        )


def _fitting(size: int) -> str:
    fits = [str(n) for n in _divisors(size)]
    return f"tp can be {', '.join(fits[:8])}" + (", .." if len(fits) > 8 else "")


def _divisors(size: int) -> list[int]:
    return [n for n in range(1, size + 1) if size % n == 0]


def check_embedding(found: Found) -> None:
    """ValueError for an embedding with options that need all of its rows."""
    for name, plain in _OF_EMBEDDING.items():
        if getattr(found.module, name) != plain:
            raise ValueError(
                f"{found.called} has {name}={getattr(found.module, name)}, which Vocabulary() cannot split"
            )
