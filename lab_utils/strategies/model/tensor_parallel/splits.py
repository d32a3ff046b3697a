"""The ways to split a module over tp, the entries of a plan.

Letters:  C channels   H query heads   K key/value heads   D head width   V vocabulary   n ranks of tp
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MethodType

import torch
from torch import Tensor, nn

from lab_utils.strategies.model.placement import Shard
from lab_utils.strategies.model.tensor_parallel import dropout, vocabulary
from lab_utils.strategies.model.tensor_parallel.linear import ColumnLinear, RowLinear, SharedInput
from lab_utils.strategies.model.tensor_parallel.operators import own_part
from lab_utils.strategies.model.tensor_parallel.plan import At, Found

_OF_EMBEDDING = {"max_norm": None, "scale_grad_by_freq": False, "sparse": False}  # what can be split


@dataclass(frozen=True)
class Column:
    """Cut the outputs of a linear layer; what follows is computed on this rank's part, up to a Row."""

    over_batch = False

    def split(self, found: Sequence[Found], at: At) -> None:
        together = SharedInput()
        for each in found:
            outputs = _linear(each, "Column")[1]
            _check_divides(each, f"{outputs} outputs", outputs, at)
            _cut_columns(each, Shard("tp", 0, (outputs,)), at, together)


@dataclass(frozen=True)
class Row:
    """Cut the inputs of a linear layer, which a Column left on this rank, and sum the outputs over the ranks."""

    over_batch = False

    def split(self, found: Sequence[Found], at: At) -> None:
        for each in found:
            inputs, _, transposed = _linear(each, "Row")
            _check_divides(each, f"{inputs} inputs", inputs, at)
            weight = at.cut(each.module.weight, Shard("tp", 0 if transposed else 1, (inputs,)))
            bias = None if each.module.bias is None else at.cut(each.module.bias, partial=at.sequence)
            each.replace(RowLinear(weight, bias, at.mesh, sequence=at.sequence, transposed=transposed))


@dataclass(frozen=True)
class Heads:
    """Cut query, key and value between heads, so that attention follows by itself on this rank's heads.

    With fewer key/value heads than ranks (grouped-query attention, Ainslie et al. 2023, arXiv 2305.13245), rank r has
    KV head ⌊r·K/n⌋, which its query heads read in the whole model, and shares it with n/K - 1 others: the gradient of
    its weights is summed over them.

    width  the parent's attribute that holds D
    parts  3 where one layer computes query, key and value, one after the other
    local  {the parent's attribute: its value here, of this rank's query heads, its KV heads and D}
    """

    width: str
    parts: int = 1
    local: Mapping[str, Callable[[int, int, int], int]] = field(default_factory=dict)
    over_batch = False

    def split(self, found: Sequence[Found], at: At) -> None:
        parent, ranks = found[0].parent, at.mesh.tp
        width = getattr(parent, self.width)
        heads = {each: _linear(each, "Heads")[1] // self.parts // width for each in found}
        queries, fewest = max(heads.values()), min(heads.values())
        _check_heads(found[0], queries, fewest, ranks)
        together = SharedInput()
        for each, count in heads.items():
            pieces = count if count < ranks else None
            _cut_columns(each, Shard("tp", 0, (count * width,) * self.parts, pieces), at, together)
        for attribute, of in self.local.items():
            setattr(parent, attribute, of(queries // ranks, max(1, fewest // ranks), width))


@dataclass(frozen=True)
class Vocabulary:
    """Share out the rows of an embedding, or the outputs of the last layer, by tokens; n need not divide V."""

    over_batch = False

    def split(self, found: Sequence[Found], at: At) -> None:
        for each in found:
            rows = each.module.weight.shape[0]
            if rows < at.mesh.tp:
                raise ValueError(
                    f"{each.called} has a vocabulary of {rows}, too few for tp = {at.mesh.tp}: tp can be at most {rows}"
                )
            if isinstance(each.module, nn.Embedding):
                _check_embedding(each)
                weight = at.cut(each.module.weight, Shard("tp", 0, (rows,)))
                padding = each.module.padding_idx
                each.replace(
                    vocabulary.VocabularyEmbedding(weight, rows, at.mesh, padding=padding, sequence=at.sequence)
                )
            else:
                _linear(each, "Vocabulary")
                _cut_columns(each, Shard("tp", 0, (rows,)), at, SharedInput())


@dataclass(frozen=True)
class TokenByToken:
    """Leave a module whole that computes each token by itself, such as a norm.

    With sequence parallelism it has T/n tokens, and the gradients of its weights are summed over tp.
    """

    over_batch = False

    def split(self, found: Sequence[Found], at: At) -> None:
        for each in found:
            for parameter in each.module.parameters():
                at.cut(parameter, partial=at.sequence)


@dataclass(frozen=True)
class HeadByHead:
    """Leave a module whole that computes each head by itself, such as a norm of queries or keys.

    Each rank has some of the heads, so the gradients of its weights are summed over tp.
    """

    over_batch = False

    def split(self, found: Sequence[Found], at: At) -> None:
        for each in found:
            for parameter in each.module.parameters():
                at.cut(parameter, partial=True)


@dataclass(frozen=True)
class Positions:
    """Leave an embedding of the positions whole; with sequence parallelism its output is this rank's T/n tokens."""

    over_batch = False

    def split(self, found: Sequence[Found], at: At) -> None:
        TokenByToken().split(found, at)
        for each in found if at.sequence else ():
            each.module.register_forward_hook(partial(_own_tokens, at.mesh))


@dataclass(frozen=True)
class Dropout:
    """Draw the masks of whole activations and keep this rank's part: see dropout.py."""

    over_batch = True

    def split(self, found: Sequence[Found], at: At) -> None:
        cut = {0: ("dp",), 1: ("cp", "tp") if at.sequence else ("cp",)}
        for each in found:
            if not isinstance(each.module, nn.Dropout):
                raise ValueError(f"{each.called} is no nn.Dropout: Dropout() splits nothing else")
            each.replace(dropout.CutDropout(each.module.p, at.mesh, cut))


@dataclass(frozen=True)
class HeadDropout:
    """Cut the dropout of attention weights by heads, in an attention with lab_utils.gpt's `attend(q, k, v)`."""

    over_batch = True

    def split(self, found: Sequence[Found], at: At) -> None:
        for each in found:
            each.module.mesh = at.mesh
            each.module.attend = MethodType(dropout.attend_with_cut_dropout, each.module)


@dataclass(frozen=True)
class Loss:
    """Let a model's `loss(logits, targets)` be this rank's part of the global batch's mean, of logits that are cut.

    It also checks, at the first step, that the random states of tp are equal; generating needs the unsplit model.
    """

    vocabulary: str  # the dotted attribute of the model that holds V
    over_batch = True

    def split(self, found: Sequence[Found], at: At) -> None:
        (root,) = found
        whole = root.module
        for name in self.vocabulary.split("."):
            whole = getattr(whole, name)
        root.module.loss = partial(vocabulary.cross_entropy, mesh=at.mesh, vocabulary=whole)
        root.module.generate = _generate
        if at.mesh.tp > 1 and any(isinstance(each, dropout.CutDropout) for each in root.module.modules()):
            _before_first_step(root.module, at)


# ---------------------------------------------------------------------- cutting a linear layer
def _linear(found: Found, split: str) -> tuple[int, int, bool]:
    """Return inputs, outputs and whether the weight is [inputs, outputs]. ValueError for what is no linear layer."""
    module = found.module
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features, False
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):  # transformers', which needs no import here
        return *module.weight.shape, True
    raise ValueError(f"{found.called} is no linear layer: {split}() splits nn.Linear and transformers' Conv1D")


def _cut_columns(found: Found, shard: Shard, at: At, together: SharedInput) -> None:
    """Put a ColumnLinear with this rank's outputs in the layer's place; `shard` is that of its outputs."""
    module, transposed = found.module, _linear(found, "Column")[2]
    weight = at.cut(module.weight, Shard("tp", 1, shard.parts, shard.pieces) if transposed else shard)
    bias = None if module.bias is None else at.cut(module.bias, shard)
    found.replace(ColumnLinear(weight, bias, at.mesh, sequence=at.sequence, transposed=transposed, together=together))


# ---------------------------------------------------------------------- what does not divide
def _check_divides(found: Found, said: str, size: int, at: At) -> None:
    if size % at.mesh.tp:
        raise ValueError(f"{found.called} has {said}, which tp = {at.mesh.tp} does not divide: {_fitting(size)}")


def _check_heads(found: Found, queries: int, fewest: int, ranks: int) -> None:
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


def _check_embedding(found: Found) -> None:
    for name, plain in _OF_EMBEDDING.items():
        if getattr(found.module, name) != plain:
            raise ValueError(
                f"{found.called} has {name}={getattr(found.module, name)}, which Vocabulary() cannot split"
            )


# ---------------------------------------------------------------------- what modules call
def _own_tokens(mesh, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
    return own_part(output, mesh.group("tp"))


def _before_first_step(model: nn.Module, at: At) -> None:
    def check(module: nn.Module, args: tuple) -> None:
        if module.training and torch.is_grad_enabled():
            handle.remove()
            dropout.check_random_states(at.mesh, next(module.parameters()).device)

    handle = model.register_forward_pre_hook(check)


def _generate(*args: object, **kwargs: object) -> None:
    raise ValueError(
        "this model's logits are cut over tp, and no rank has those of all tokens: generate with the unsplit model, "
        "which placement.state_dict(model, mesh) loads into"
    )
