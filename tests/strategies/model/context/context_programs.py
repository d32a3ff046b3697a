"""What ranks run in the tests of context parallelism: ten steps over a sequence that is cut, and the same uncut."""

from __future__ import annotations

STEPS, SEQUENCES, TOKENS, VOCABULARY, HEADS = 10, 4, 22, 40, 4  # 22 is not divisible by the slices of 4 ranks
VARIANTS = {"causal": (HEADS, True), "not causal": (HEADS, False), "grouped-query": (2, True)}


def model_of(variant: str):
    """A GPT in float64 with so many key and value heads, its mask causal or not."""
    from functools import partial

    import torch
    import torch.nn.functional as F
    from torch import nn

    from lab_utils.gpt import GPT, GPTConfig

    kv_heads, causal = VARIANTS[variant]
    torch.manual_seed(0)
    layers = 2 if variant == "causal" else 1
    model = GPT(GPTConfig(VOCABULARY, TOKENS, layers, channels=16, heads=HEADS)).double()
    for block in model.blocks:
        attention = block.attention
        for name in ("key", "value") if kv_heads < HEADS else ():
            whole = getattr(attention, name)
            fewer = nn.Linear(16, kv_heads * attention.width, bias=whole.bias is not None, dtype=torch.float64)
            setattr(attention, name, fewer)
        attention.attend = partial(F.scaled_dot_product_attention, is_causal=causal, enable_gqa=True)
    return model


def batches(steps: int):
    """x, y [SEQUENCES, TOKENS] for each step, the same on every rank; some labels are ignored, more in the front."""
    import torch

    draw = torch.Generator().manual_seed(1)
    for _ in range(steps):
        ids = torch.randint(VOCABULARY, (SEQUENCES, TOKENS + 1), generator=draw)
        y = ids[:, 1:].clone()
        y[: SEQUENCES // 2, : TOKENS // 3] = -100
        y[-1, -1] = -100
        yield ids[:, :-1], y


def optimizer_of(model):
    import torch

    return torch.optim.AdamW(model.parameters(), lr=1e-2)


def serial(variant: str, steps: int = STEPS) -> dict:
    """What serial training gives, on one rank."""
    from lab_utils.strategies import serial

    model = model_of(variant)
    optimizer = optimizer_of(model)
    for x, y in batches(steps):
        loss = serial.step(model, optimizer, x, y)
    return serial.snapshot(model, loss)


def trained(degrees: dict, method: str, variant: str, steps: int = STEPS) -> dict:
    """What training on the mesh gives, put together."""
    from lab_utils.strategies.mesh import Mesh
    from lab_utils.strategies.mixed_precision import recompute
    from lab_utils.strategies.model.context.parallel import context_parallel
    from lab_utils.strategies.model.placement import snapshot

    mesh, model = Mesh(**degrees), model_of(variant)
    optimizer = optimizer_of(model)
    split = context_parallel(model, mesh, TOKENS, method, causal=VARIANTS[variant][1])
    if variant == "grouped-query":
        recompute(model.blocks)  # the keys go around once more
    for x, y in batches(steps):
        mine = [split.own(each.tensor_split(mesh.dp)[mesh.mine["dp"]], mesh.mine["cp"]) for each in (x, y)]
        loss = step(model, optimizer, lambda x, y: model(x, y)[1], mine, mesh)
    return snapshot(model, loss, mesh)


def step(model, optimizer, loss_of, mine, mesh):
    from lab_utils.strategies.model.placement import sum_gradients

    optimizer.zero_grad()
    loss = loss_of(*mine)
    loss.backward()
    sum_gradients(model, mesh)
    optimizer.step()
    return loss.detach()


def all_of(degrees: dict, cases: list[tuple[str, str]]) -> dict:
    """{(method, variant): snapshot}."""
    return {case: trained(degrees, *case) for case in cases}


# ---------------------------------------------------------------------- transformers
def llama():
    """A Llama with 4 query heads and 2 key and value heads, in float64."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, num_hidden_layers=2, hidden_size=16, intermediate_size=32, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    return LlamaForCausalLM(config).double()


def llama_serial(steps: int) -> dict:
    import torch.nn.functional as F

    from lab_utils.strategies import serial

    model = llama()
    optimizer = optimizer_of(model)
    for x, y in batches(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(input_ids=x, use_cache=False).logits.flatten(0, 1), y.flatten())
        loss.backward()
        optimizer.step()
    return serial.snapshot(model, loss)


def llama_cut(method: str, steps: int, **degrees: int) -> tuple[dict, list[str]]:
    """What it is after as many steps on these ranks, and what it says to a mask, a window, labels alone."""
    import torch

    from lab_utils.strategies.mesh import Mesh
    from lab_utils.strategies.model.context.parallel import context_parallel
    from lab_utils.strategies.model.placement import snapshot

    mesh, model, said = Mesh(**degrees), llama(), []
    optimizer = optimizer_of(model)
    split = context_parallel(model, mesh, TOKENS, method)
    for batch in batches(steps):
        x, y = (split.own(each.chunk(mesh.dp)[mesh.mine["dp"]], mesh.mine["cp"]) for each in batch)
        loss = step(
            model, optimizer, lambda x, y: model(x, labels=y, shift_labels=y, use_cache=False).loss, (x, y), mesh
        )
    mask = torch.ones_like(x)
    model(x, attention_mask=mask, use_cache=False)  # which hides nothing
    hiding = mask.clone()
    hiding[0, 0] = 0
    for other in ({"attention_mask": hiding}, {"sliding_window": 4}, {"labels": y}):
        try:
            model(x, use_cache=False, **other)
        except ValueError as error:
            said.append(str(error))
    return snapshot(model, loss, mesh), said
