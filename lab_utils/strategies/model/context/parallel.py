"""A model over a sequence that is cut over cp: its attention, its positions and its loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import MethodType
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from lab_utils.gpt import GPT, Attention
from lab_utils.strategies.mesh import Mesh
from lab_utils.strategies.model.context.all_to_all import all_to_all_attention
from lab_utils.strategies.model.context.ring import ring_attention
from lab_utils.strategies.model.context.zigzag import IGNORED, SequenceSplit
from lab_utils.text import listed

METHODS = {"ring": ring_attention, "all_to_all": all_to_all_attention}


def context_parallel(
    model: nn.Module, mesh: Mesh, tokens: int, method: str = "ring", causal: bool = True
) -> SequenceSplit:
    """Let a model see a whole sequence of T `tokens` of which each rank of cp has a part; return who has which.

    >>> split = context_parallel(model, mesh, tokens=64)                # in place, after a split over tp
    >>> ids, labels = (split.own(each, mesh.mine["cp"]) for each in (x, y))          # x, y [B, T] -> [B, t]
    >>> _, loss = model(ids, labels)                                    # this rank's part of the global mean

    The model's attention is over all ranks, its positions are those in the whole sequence, and its loss is the sum over
    own targets / the number on all ranks; gradients are summed by placement.sum_gradients. Labels are the next tokens
    of the whole sequence (`zigzag.next_tokens`).

    model   a GPT, or a decoder of transformers; of that one the loss is asked for by labels=..., shift_labels=labels
    method  "ring", over a zigzag, or "all_to_all", over contiguous slices
    causal  the mask of a GPT's attention; other models have their own

    ValueError for a method or a length that does not fit, and a model whose attention cannot be replaced.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r}: attention over cp is {' or '.join(METHODS)}")
    split = SequenceSplit(tokens, mesh.cp, zigzag=method == "ring")
    attentions = [module for module in model.modules() if isinstance(module, Attention)]
    if isinstance(model, GPT) and tokens > model.config.block:
        raise ValueError(
            f"{tokens} tokens are longer than the model's block of {model.config.block}: build it with block={tokens}"
        )
    if not isinstance(model, GPT) and not hasattr(model, "set_attn_implementation"):
        raise ValueError(
            f"{type(model).__name__} has no attention that can be replaced: a GPT of the lab has, and models of "
            "transformers with an attention interface"
        )
    if hasattr(model, "over_cp"):
        raise ValueError(f"this {type(model).__name__} is over cp already, by {model.over_cp}: build it anew")
    if mesh.dp * mesh.cp > 1 and "loss" not in vars(model):  # a model split over tp has one of its own
        model.loss = partial(part_of_mean, mesh=mesh)
        if not isinstance(model, GPT):
            model.loss_function = partial(_of_shifted_labels, model.loss)
    if mesh.cp > 1:
        model.over_cp = method
        attend = Attend(METHODS[method], split, mesh)
        positions = torch.from_numpy(split.positions(mesh.mine["cp"]))
        if isinstance(model, GPT):
            for attention in attentions:
                attention.over_cp = partial(attend, causal=causal)
                attention.attend = MethodType(_attend_in_gpt, attention)
            # A hook goes along when a pipeline's stage takes the module.
            model.positions.register_forward_pre_hook(partial(_in_whole_sequence, positions, tokens))
        else:
            _in_transformers(model, attend, positions, f"{method} of {tokens} tokens, {mesh}")
    return split


@dataclass(frozen=True)
class Attend:
    """Attention of a rank's queries over the whole sequence, [B, H, t, D]. ValueError for dropout of its weights."""

    method: Callable[..., Tensor]
    split: SequenceSplit
    mesh: Mesh

    def __call__(
        self, q: Tensor, k: Tensor, v: Tensor, *, causal: bool, dropout: float = 0.0, scale: float | None = None
    ) -> Tensor:
        if dropout:
            raise ValueError(
                f"attention dropout of {dropout}: each rank would draw the masks of its own blocks, others than those "
                "of the whole sequence; build the model without dropout in its attention"
            )
        return self.method(q, k, v, self.split, self.mesh.group("cp"), causal=causal, scale=scale)


def _attend_in_gpt(attention: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return attention.over_cp(q, k, v, dropout=attention.dropout if attention.training else 0.0)


def _in_whole_sequence(positions: Tensor, tokens: int, module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
    """Return the rank's positions in place of 0..t-1."""
    if len(args[0]) != len(positions):
        raise ValueError(
            f"{len(args[0])} tokens are given, and this rank has {len(positions)} of the {tokens}: split.own cuts them"
        )
    return (positions,)


def part_of_mean(logits: Tensor, targets: Tensor, mesh: Mesh) -> Tensor:
    """Return the sum over own targets / the number of targets on all ranks of dp and cp, [B, t, V], [B, t] -> [].

    Its sum over those ranks is serial's mean, and so are the sums of gradients: ranks with fewer targets, where some
    are IGNORED or the cut is uneven, need no weight.
    """
    count = (targets != IGNORED).sum()
    if mesh.dp * mesh.cp > 1:
        dist.all_reduce(count, group=mesh.group("dp", "cp"))
    dtype = torch.promote_types(logits.dtype, torch.float32)
    summed = F.cross_entropy(logits.flatten(0, -2).to(dtype), targets.flatten(), ignore_index=IGNORED, reduction="sum")
    return summed / count


# ---------------------------------------------------------------------- models of transformers
_CHANGES_SCORES = ("sliding_window", "softcap", "position_bias", "s_aux")  # what an attention there may be given


def _in_transformers(model: nn.Module, attend: Attend, positions: Tensor, name: str) -> None:
    """Register the attention with transformers, and let the model take it, own positions and the loss."""
    from transformers import AttentionInterface, AttentionMaskInterface

    def mask(*_: Any, attention_mask: Tensor | None = None, **__: Any) -> Tensor | None:
        # Without a function for masks, transformers would drop what the caller gives.
        return None if attention_mask is None or attention_mask.all() else attention_mask

    def attention(
        module: nn.Module, q: Tensor, k: Tensor, v: Tensor, attention_mask: Tensor | None, dropout: float = 0.0,
        scaling: float | None = None, is_causal: bool | None = None, **other: Any,
    ) -> tuple[Tensor, None]:  # fmt: skip
        if attention_mask is not None:
            raise ValueError(
                "attention_mask hides tokens: attention over cp has no mask but the causal one, so cut the padding "
                f"off, or give its labels as {IGNORED}"
            )
        if unknown := [each for each in _CHANGES_SCORES if other.get(each) is not None]:
            raise ValueError(f"{type(module).__name__} has {listed(unknown)}, which attention over cp does not have")
        causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
        return attend(q, k, v, causal=causal, dropout=dropout, scale=scaling).transpose(1, 2), None

    AttentionInterface.register(name, attention)
    AttentionMaskInterface.register(name, mask)
    model.set_attn_implementation(name)
    own_positions = {"position_ids": positions[None]}
    model.register_forward_pre_hook(lambda _, args, kwargs: (args, own_positions | kwargs), with_kwargs=True)
    model.loss_function = partial(_of_shifted_labels, model.loss)


def _of_shifted_labels(
    loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, labels: Tensor, *_: Any,
    shift_labels: Tensor | None = None, **__: Any,
) -> Tensor:  # fmt: skip
    """Stands where transformers' loss does, which would shift the labels of each rank by themselves."""
    if shift_labels is None:
        raise ValueError(
            "labels are shifted before the sequence is cut, not in each rank's part: next_tokens(ids) of the whole "
            "sequence, cut by split.own, are labels=... and shift_labels=..."
        )
    return loss(logits, shift_labels)
