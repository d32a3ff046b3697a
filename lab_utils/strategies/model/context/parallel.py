"""A model over a sequence that is cut over cp: its attention, its positions and its loss."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from lab_utils.comm.recorder.recorder import phase
from lab_utils.gpt import GPT, Attention
from lab_utils.strategies.mesh import Mesh
from lab_utils.strategies.model.context.all_to_all import all_to_all_attention
from lab_utils.strategies.model.context.ring import ring_attention
from lab_utils.strategies.model.context.zigzag import IGNORED, SequenceSplit
from lab_utils.strategies.model.placement import sum_gradients
from lab_utils.text import listed

METHODS = {"ring": ring_attention, "all_to_all": all_to_all_attention}


def context_parallel(model: nn.Module, mesh: Mesh, tokens: int, method: str = "ring") -> SequenceSplit:
    """Let the model's attention reach over all ranks of cp; return how sequences of T `tokens` are then cut.

    >>> split = context_parallel(model, mesh, tokens=64)           # or method="all_to_all"
    >>> loss = step(model, optimizer, x, y, split, mesh)           # x, y [B, T], the whole sequences

    model   a GPT, or a decoder of transformers that takes `position_ids`
    method  "ring", over a zigzag, or "all_to_all", over contiguous slices

    ValueError for a method or a length that does not fit, and a model whose attention cannot be replaced.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r}: attention over cp is {' or '.join(METHODS)}")
    split = SequenceSplit(tokens, mesh.degrees["cp"], zigzag=method == "ring")
    attentions = [module for module in model.modules() if isinstance(module, Attention)]
    if isinstance(model, GPT) and tokens > model.config.block:
        raise ValueError(
            f"{tokens} tokens are longer than the model's block of {model.config.block}: build it with block={tokens}"
        )
    if not attentions and not hasattr(model, "set_attn_implementation"):
        raise ValueError(
            f"{type(model).__name__} has no attention that can be given: it is made of lab_utils.gpt's, or a model of "
            "transformers with an attention interface"
        )
    if split.ranks > 1:
        attend = partial(_attend, METHODS[method], split, mesh.group("cp"))
        for attention in attentions:
            attention.attend = attend
        if not attentions:
            _attend_in_transformers(model, attend, f"{method} of {tokens} tokens, {mesh}")
    return split


def _attend(
    method: Callable[..., Tensor], split: SequenceSplit, group: dist.ProcessGroup, q: Tensor, k: Tensor, v: Tensor,
    dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None,
) -> Tensor:  # fmt: skip
    """Stands where F.scaled_dot_product_attention does. ValueError for dropout."""
    if dropout_p:
        raise ValueError(
            f"attention dropout of {dropout_p}: each rank would draw the masks of its own blocks, others than those of "
            "the whole sequence; build the model without dropout in its attention"
        )
    return method(q, k, v, split, group, causal=is_causal, scale=scale)


def _attend_in_transformers(model: nn.Module, attend: Callable[..., Tensor], name: str) -> None:
    """Register the attention with transformers, and let the model take it."""
    from transformers import AttentionInterface, AttentionMaskInterface

    def mask(*_, attention_mask=None, **__):  # without one, transformers would drop what the caller gives
        return None if attention_mask is None or attention_mask.all() else attention_mask

    def attention(module, q, k, v, attention_mask, dropout=0.0, scaling=None, is_causal=None, **other):
        if attention_mask is not None:
            raise ValueError(
                "attention_mask hides tokens: attention over cp has no mask but the causal one, so cut the "
                "padding off, and give its labels as -100"
            )
        if unknown := [each for each in _CHANGES_SCORES if other.get(each) is not None]:
            raise ValueError(f"{type(module).__name__} has {listed(unknown)}, which attention over cp does not have")
        causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
        return attend(q, k, v, dropout_p=dropout, is_causal=causal, scale=scaling).transpose(1, 2), None

    AttentionInterface.register(name, attention)
    AttentionMaskInterface.register(name, mask)
    model.set_attn_implementation(name)


_CHANGES_SCORES = ("sliding_window", "softcap", "position_bias", "s_aux")  # what transformers' attentions may be given


# ---------------------------------------------------------------------- a step
def step(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, split: SequenceSplit, mesh: Mesh
) -> Tensor:
    """Run one step on this dp rank's sequences x, y [B, T]; return this rank's part of the loss before it, []."""
    optimizer.zero_grad()
    with phase("forward"):
        loss = loss_of(model, x, y, split, mesh)
    with phase("backward"):
        loss.backward()
    with phase("gradients"):
        sum_gradients(model, mesh)
    with phase("update"):
        optimizer.step()
    return loss.detach()


def loss_of(model: nn.Module, x: Tensor, y: Tensor, split: SequenceSplit, mesh: Mesh) -> Tensor:
    """Return this rank's part of the global batch's mean loss, [], from whole sequences and their labels x, y [B, T].

    Labels are those of the uncut sequence (`zigzag.next_tokens`); IGNORED ones count nowhere.
    """
    rank = mesh.mine["cp"]
    ids, at = split.own(x, rank), torch.from_numpy(split.positions(rank))
    if isinstance(model, GPT):
        logits, _ = model(ids, positions=at)
    else:
        logits = model(input_ids=ids, position_ids=at[None], use_cache=False).logits
    return part_of_mean(logits, split.own(y, rank), mesh)


def part_of_mean(logits: Tensor, targets: Tensor, mesh: Mesh) -> Tensor:
    """Return the sum over own targets / the number of targets on all ranks of dp and cp, [B, t, V], [B, t] -> [].

    Its sum over those ranks is serial's mean, and so are the sums of gradients: ranks with fewer targets, where some
    are ignored or the cut is uneven, need no weight.
    """
    count = (targets != IGNORED).sum()
    if mesh.degrees["dp"] * mesh.degrees["cp"] > 1:
        dist.all_reduce(count, group=mesh.group("dp", "cp"))
    dtype = torch.promote_types(logits.dtype, torch.float32)
    summed = F.cross_entropy(logits.flatten(0, -2).to(dtype), targets.flatten(), ignore_index=IGNORED, reduction="sum")
    return summed / count
