"""Attention over a sequence that is cut over ranks computes what it computes uncut."""

from __future__ import annotations

import re
from functools import cache

import context_programs
import pytest

from lab_utils.ranks import Ranks
from lab_utils.strategies.parity import parity

METHODS = ("ring", "all_to_all")
serial = cache(context_programs.serial)


@pytest.mark.parametrize("degrees", [{"cp": 2}, {"dp": 2}, {"cp": 4}, {"dp": 2, "cp": 2}], ids=str)
def test_parity_of_ten_steps(request: pytest.FixtureRequest, degrees: dict) -> None:
    size = degrees.get("dp", 1) * degrees.get("cp", 1)
    ranks: Ranks = request.getfixturevalue(f"ranks{size}")
    cases = [(method, variant) for method in METHODS for variant in context_programs.VARIANTS]
    if degrees != {"cp": 4}:
        cases = [("ring", "grouped-query"), ("all_to_all", "causal")]
    found = ranks.run(context_programs.all_of, degrees, cases)
    for method, variant in cases:
        of_ranks = [each[method, variant] for each in found]
        compared = parity(serial(variant), of_ranks, tolerance=1e-10)
        assert compared.equal, (method, variant, compared)
        assert len(of_ranks[0]["gradients"]) == len(serial(variant)["gradients"])


def test_one_rank_is_plain_torch() -> None:
    """Nothing is replaced, sent or copied."""
    from lab_utils.strategies.mesh import Mesh
    from lab_utils.strategies.model.context.parallel import context_parallel

    for method in METHODS:
        model = context_programs.model_of("causal")
        before = [block.attention.attend for block in model.blocks]
        context_parallel(model, Mesh(), context_programs.TOKENS, method)
        assert [block.attention.attend for block in model.blocks] == before
        assert "loss" not in vars(model) and not model.positions._forward_pre_hooks


def test_a_llama_of_transformers_equals_itself_uncut(ranks2: Ranks) -> None:
    """Grouped-query, with rotary positions, which are those of the whole sequence."""
    whole = ranks2.run(context_programs.llama_serial, 3)[0]
    for method in METHODS:
        snapshots, said = zip(*ranks2.run(context_programs.llama_cut, method, 3, cp=2), strict=True)
        compared = parity(whole, snapshots, tolerance=1e-10)
        assert compared.equal, (method, compared)
        for mask, window, labels in said:
            assert mask.startswith("attention_mask hides tokens: attention over cp has no mask but the causal one")
            assert window == "LlamaAttention has sliding_window, which attention over cp does not have"
            assert labels.startswith("labels are shifted before the sequence is cut, not in each rank's part")
    replicas, _ = zip(*ranks2.run(context_programs.llama_cut, "ring", 3, dp=2), strict=True)
    assert parity(whole, replicas, tolerance=1e-10).equal


# ---------------------------------------------------------------------- one attention
def attended(method: str, tokens: int, kv_heads: int, zigzag: bool, causal: bool, dtype: str) -> float:
    """Largest relative difference of output and gradients from the uncut attention in float64."""
    import torch
    import torch.nn.functional as F

    from lab_utils.strategies.mesh import Mesh
    from lab_utils.strategies.model.context.parallel import METHODS
    from lab_utils.strategies.model.context.zigzag import SequenceSplit

    mesh, draw = Mesh(cp=4), torch.Generator().manual_seed(0)
    split, rank = SequenceSplit(tokens, 4, zigzag), mesh.mine["cp"]
    shapes = [(2, heads, tokens, 8) for heads in (4, kv_heads, kv_heads, 4)]
    q, k, v, dout = (torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes)

    whole = [each.clone().requires_grad_() for each in (q, k, v)]
    right = F.scaled_dot_product_attention(*whole, is_causal=causal, scale=0.3, enable_gqa=True)
    right.backward(dout)
    at = torch.from_numpy(split.positions(rank))
    own = [each[:, :, at].to(getattr(torch, dtype)).requires_grad_() for each in (q, k, v)]
    out = METHODS[method](*own, split, mesh.group("cp"), causal=causal, scale=0.3)
    out.backward(dout[:, :, at].to(out.dtype))
    pairs = [(out, right), *((mine.grad, all_.grad) for mine, all_ in zip(own, whole, strict=True))]
    assert all(found.dtype == getattr(torch, dtype) for found, _ in pairs)
    return max(((found.double() - of[:, :, at]).abs().max() / of.abs().max()).item() for found, of in pairs)


def test_any_length_split_and_mask(ranks4: Ranks) -> None:
    def differences() -> dict:
        cases = [
            (method, tokens, kv_heads, zigzag, causal, "float64")
            for method in METHODS
            for tokens, kv_heads in ((8, 4), (13, 1), (31, 2))
            for zigzag in (True, False)
            for causal in (True, False)
        ]
        return {case: attended(*case) for case in cases}

    for found in ranks4.run(differences):
        assert len(found) == 24
        assert max(found.values()) < 1e-13, max(found, key=found.get)


def test_rounds_are_summed_in_float32_at_least(ranks4: Ranks) -> None:
    """bfloat16 has 8 bits: what four rounds lose beyond them, a sum of bfloat16 loses too."""

    def difference() -> tuple[float, float]:
        return tuple(attended("ring", 64, 2, True, True, dtype) for dtype in ("bfloat16", "float32"))

    for bfloat16, float32 in ranks4.run(difference):
        assert bfloat16 < 2**-6
        assert float32 < 2e-6


# ---------------------------------------------------------------------- what is sent
def sent(method: str, tokens: int, kv_heads: int) -> None:
    attended(method, tokens, kv_heads, method == "ring", True, "float64")


@pytest.mark.parametrize(("tokens", "kv_heads"), [(32, 4), (29, 2)])
def test_bytes_sent_are_the_formula(ranks4: Ranks, tokens: int, kv_heads: int) -> None:
    from lab_utils.strategies.model.context.zigzag import SequenceSplit, all_to_all_bytes, ring_bytes

    trace = ranks4.record(sent, "ring", tokens, kv_heads)
    split = SequenceSplit(tokens, 4)
    for rank, ops in enumerate(trace.ops):
        found = sum(op.bytes for op in ops if op.kind == "send")
        assert found == ring_bytes(split, rank, token_bytes=2 * 2 * kv_heads * 8 * 8)
        computed = [any(op.flops for op in ops[wait.of : at]) for at, wait in enumerate(ops) if wait.kind == "wait"]
        # 3 messages forward, 3 and 4 backward, each sent and received while a block is computed; the last goes home.
        assert computed == [True] * 2 * 9 + [False] * 2
    trace = ranks4.record(sent, "all_to_all", tokens, kv_heads)
    split = SequenceSplit(tokens, 4, zigzag=False)
    for rank, ops in enumerate(trace.ops):
        to_heads, to_tokens, back_to_tokens, back_to_heads = (op.bytes for op in ops if op.kind == "collective")
        own = split.length(rank) / tokens  # of the tokens; of the heads it is 1/4
        found = (to_heads + back_to_tokens) * 3 / 4 + (to_tokens + back_to_heads) * (1 - own)
        assert found == pytest.approx(all_to_all_bytes(split, rank, 4, kv_heads, head_bytes=2 * 8 * 8), rel=1e-12)


# ---------------------------------------------------------------------- torch's own
def test_torchs_own_context_parallel_does_not_run_on_a_cpu(ranks2: Ranks) -> None:
    """When it does, the chapter is to run it beside."""

    def theirs() -> str:
        import torch
        import torch.nn.functional as F
        from torch.distributed.tensor.experimental import context_parallel

        from lab_utils.strategies.mesh import Mesh

        q, k, v = (torch.randn(1, 2, 16, 8) for _ in range(3))
        mesh = Mesh(cp=2).device_mesh["cp"]
        try:
            with context_parallel(mesh, buffers=[q, k, v], buffer_seq_dims=[2, 2, 2]):
                F.scaled_dot_product_attention(q, k, v, is_causal=True)
        except NotImplementedError as error:
            return str(error)
        return "it ran"

    for said in ranks2.run(theirs):
        assert "aten._scaled_dot_product_flash_attention_for_cpu" in said and "sharding strategy" in said, said


# ---------------------------------------------------------------------- what does not fit
def refused(case: str) -> str:
    import torch

    from lab_utils.gpt import GPT, GPTConfig
    from lab_utils.strategies.mesh import Mesh
    from lab_utils.strategies.model.context.all_to_all import all_to_all_attention
    from lab_utils.strategies.model.context.parallel import context_parallel
    from lab_utils.strategies.model.context.ring import ring_attention
    from lab_utils.strategies.model.context.zigzag import SequenceSplit
    from lab_utils.strategies.model.tensor_parallel import plans
    from lab_utils.strategies.model.tensor_parallel import split as split_over_tp

    mesh, x = Mesh(cp=4), torch.zeros(1, 4, 3, 8)
    model = GPT(GPTConfig(50, 16, 1, 12, heads=3, dropout=0.1))
    ids = torch.zeros(1, 16, dtype=torch.int64)
    try:
        if case == "shape":
            ring_attention(x, x, x, SequenceSplit(16, 4), mesh.group("cp"))
        elif case == "ranks":
            ring_attention(x, x, x, SequenceSplit(16, 2), mesh.group("cp"))
        elif case == "heads":
            all_to_all_attention(*[torch.zeros(1, 6, 4, 8)] * 3, SequenceSplit(16, 4), mesh.group("cp"))
        elif case == "dropout":
            split = context_parallel(model, mesh, 16)
            model(split.own(ids, mesh.mine["cp"]))
        elif case == "whole":
            context_parallel(model.eval(), mesh, 16)
            model(ids)
        elif case == "method":
            context_parallel(model, mesh, 16, "ulysses")
        elif case == "block":
            context_parallel(model, mesh, 17)
        elif case == "model":
            context_parallel(torch.nn.Linear(1, 1), mesh, 16)
        elif case == "length":
            context_parallel(model, mesh, 7)
        elif case == "again":
            context_parallel(model, mesh, 16)
            context_parallel(model, mesh, 16, "all_to_all")
        elif case == "before":
            context_parallel(model, mesh, 16)
            split_over_tp(model, {**plans.GPT, "blocks.*.attention": plans.GPT["norm"]}, mesh)
        else:
            SequenceSplit(16, 4).own(ids[:, 1:], 0)
    except ValueError as error:
        return str(error)
    return ""


REFUSED = {
    "shape": r"q \[1, 4, 3, 8\], k .*: rank \d has 4 of the 16 tokens, so q is \[B, H, 4, D\]",
    "ranks": "the sequence is cut over 2 ranks, and the group has 4",
    "heads": "6 query heads and 6 key and value heads cannot be shared out over 4 ranks: .* is 1, 2, 3, 6$",
    "dropout": r"attention dropout of 0\.1: each rank would draw",
    "whole": "16 tokens are given, and this rank has 4 of the 16: split.own cuts them",
    "method": "method='ulysses': attention over cp is ring or all_to_all",
    "block": "17 tokens are longer than the model's block of 16: build it with block=17",
    "model": "Linear has no attention that can be replaced",
    "length": r"7 tokens cannot be cut into the 2 × 4 slices .* take 8 tokens or more \(equal slices with multiples",
    "again": "this GPT is over cp already, by ring: build it anew",
    "before": "the model .GPT. is over cp already: split first, then context_parallel",
    "own": "the sequence has 15 tokens, and it is cut as one of 16",
}


def test_what_does_not_fit_is_said(ranks4: Ranks) -> None:
    found = ranks4.run(lambda: {case: refused(case) for case in REFUSED})
    for each in found:
        for case, said in REFUSED.items():
            assert re.search(said, each[case]), (case, each[case])
