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
from lab_utils.strategies.model.tensor_parallel.cutting import (
    check_divides,
    check_embedding,
    check_heads,
    cut_columns,
    heads_of,
    linear,
)
from lab_utils.strategies.model.tensor_parallel.linear import RowLinear, SharedInput
from lab_utils.strategies.model.tensor_parallel.operators import own_part
from lab_utils.strategies.model.tensor_parallel.plan import At, Found


@dataclass(frozen=True)
class Column:
    """Cut the outputs of a linear layer; what follows is computed on this rank's part, up to a Row."""

    axes = ("tp",)

    def split(self, found: Sequence[Found], at: At) -> None:
        together = SharedInput()
        for each in found:
            outputs = linear(each, "Column")[1]
            check_divides(each, f"{outputs} outputs", outputs, at)
            cut_columns(each, Shard("tp", 0, (outputs,)), at, together)


@dataclass(frozen=True)
class Row:
    """Cut the inputs of a linear layer, which a Column left on this rank, and sum the outputs over the ranks."""

    axes = ("tp",)

    def split(self, found: Sequence[Found], at: At) -> None:
        for each in found:
            inputs, _, transposed = linear(each, "Row")
            check_divides(each, f"{inputs} inputs", inputs, at)
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
    axes = ("tp",)

    def split(self, found: Sequence[Found], at: At) -> None:
        parent, ranks = found[0].parent, at.mesh.tp
        width = getattr(parent, self.width)
        heads = {each: heads_of(each, self.parts, width) for each in found}
        queries, fewest = max(heads.values()), min(heads.values())
        check_heads(found[0], queries, fewest, ranks)
        together = SharedInput()
        for each, count in heads.items():
            pieces = count if count < ranks else None
            cut_columns(each, Shard("tp", 0, (count * width,) * self.parts, pieces), at, together)
        for attribute, of in self.local.items():
            setattr(parent, attribute, of(queries // ranks, max(1, fewest // ranks), width))


@dataclass(frozen=True)
class Vocabulary:
    """Share out the rows of an embedding, or the outputs of the last layer, by tokens; n need not divide V."""

    axes = ("tp",)

    def split(self, found: Sequence[Found], at: At) -> None:
        for each in found:
            rows = each.module.weight.shape[0]
            if rows < at.mesh.tp:
                raise ValueError(
                    f"{each.called} has a vocabulary of {rows}, too few for tp = {at.mesh.tp}: tp can be at most {rows}"
                )
            if isinstance(each.module, nn.Embedding):
                check_embedding(each)
                weight = at.cut(each.module.weight, Shard("tp", 0, (rows,)))
                padding = each.module.padding_idx
                each.replace(
                    vocabulary.VocabularyEmbedding(weight, rows, at.mesh, padding=padding, sequence=at.sequence)
                )
            else:
                linear(each, "Vocabulary")
                cut_columns(each, Shard("tp", 0, (rows,)), at, SharedInput())


@dataclass(frozen=True)
class TokenByToken:
    """Leave a module whole that computes each token by itself, such as a norm.

    With sequence parallelism it has T/n tokens, and the gradients of its weights are summed over tp.
    """

    axes = ("tp",)

    def split(self, found: Sequence[Found], at: At) -> None:
        for each in found:
            for parameter in each.module.parameters():
                at.cut(parameter, partial=at.sequence)


@dataclass(frozen=True)
class HeadByHead:
    """Leave a module whole that computes each head by itself, such as a norm of queries or keys.

    Each rank has some of the heads, so the gradients of its weights are summed over tp.
    """

    axes = ("tp",)

    def split(self, found: Sequence[Found], at: At) -> None:
        for each in found:
            for parameter in each.module.parameters():
                at.cut(parameter, partial=True)


@dataclass(frozen=True)
class Positions:
    """Leave an embedding of the positions whole; with sequence parallelism its output is this rank's T/n tokens."""

    axes = ("tp",)

    def split(self, found: Sequence[Found], at: At) -> None:
        TokenByToken().split(found, at)
        for each in found if at.sequence else ():
            each.module.register_forward_hook(partial(_own_tokens, at.mesh))


@dataclass(frozen=True)
class Dropout:
    """Draw the masks of whole activations and keep this rank's part: see dropout.py.

    Along cp the parts are numbered as if each were contiguous. Where they are not, the masks of the ranks still differ,
    but are not those of the unsplit model.
    """

    axes = ("tp", "dp", "cp")

    def split(self, found: Sequence[Found], at: At) -> None:
        cut = {0: ("dp",), 1: ("cp", "tp") if at.sequence else ("cp",)}
        for each in found:
            if not isinstance(each.module, nn.Dropout):
                raise ValueError(f"{each.called} is no nn.Dropout: Dropout() splits nothing else")
            each.replace(dropout.CutDropout(each.module.p, at.mesh, cut))


@dataclass(frozen=True)
class HeadDropout:
    """Cut the dropout of attention weights by heads, in an attention with lab_utils.gpt's `attend(q, k, v)`."""

    axes = ("tp", "dp", "cp")

    def split(self, found: Sequence[Found], at: At) -> None:
        for each in found:
            if "attend" in vars(each.module):  # context_parallel's, which would be lost
                raise ValueError(
                    f"{each.called} has an attention of its own already: split first, then context_parallel"
                )
            each.module.mesh = at.mesh
            each.module.attend = MethodType(dropout.attend_with_cut_dropout, each.module)


@dataclass(frozen=True)
class NoDropout:
    """Refuse dropout that a model draws by itself, inside of a function: all ranks would draw the same mask.

    fraction  the module's attribute that holds what is dropped
    """

    fraction: str = "p"
    axes = ("tp", "dp", "cp")

    def split(self, found: Sequence[Found], at: At) -> None:
        for each in found:
            if dropped := getattr(each.module, self.fraction):
                raise ValueError(
                    f"{each.called} has {self.fraction} = {dropped}, which the model draws inside of its attention, "
                    "with equal masks for different heads and sequences: build the model with 0 there"
                )


@dataclass(frozen=True)
class Loss:
    """Let `loss(logits, targets)` of the whole model be this rank's part of the global batch's mean, of cut logits.

    A transformers model computes its loss from `labels`, which it shifts by one token, by this too. At the first step
    the random states of tp are compared, if there is dropout. Generating needs the unsplit model.

    vocabulary  the dotted attribute of the model that holds V
    sequence    whether the plan is one for sequence parallelism too
    """

    vocabulary: str
    sequence: bool = True
    axes = ()

    def split(self, found: Sequence[Found], at: At) -> None:
        (root,) = found
        model, whole = root.module, root.module
        if at.sequence and at.mesh.tp > 1 and not self.sequence:
            raise ValueError(f"{root.called} reads the length of its activations, so sequence=True cannot cut them")
        if hasattr(model, "over_cp"):  # its loss, which would be lost
            raise ValueError(f"{root.called} is over cp already: split first, then context_parallel")
        for name in self.vocabulary.split("."):
            whole = getattr(whole, name)
        model.loss = partial(vocabulary.cross_entropy, mesh=at.mesh, vocabulary=whole)
        if hasattr(model, "loss_function"):
            model.loss_function = partial(_of_labels, model.loss)
        if at.mesh.tp == 1:
            return
        model.generate = _generate
        if any(isinstance(each, dropout.CutDropout) and each.p for each in model.modules()):
            _before_first_step(model, at)


# ---------------------------------------------------------------------- what modules call
def _own_tokens(mesh, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
    return own_part(output, mesh.group("tp"))


def _of_labels(
    loss: Callable, logits: Tensor, labels: Tensor, *_: object, shift_labels: Tensor | None = None, **__: object
) -> Tensor:
    """Return the loss of logits [B, T, V/n] for the labels [B, T], as transformers means it: the next token's.

    shift_labels  labels that are shifted already
    """
    if shift_labels is None:
        shift_labels = nn.functional.pad(labels, (0, 1), value=-100)[..., 1:]
    return loss(logits, shift_labels)


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
