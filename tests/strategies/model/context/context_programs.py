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
    model = GPT(GPTConfig(VOCABULARY, TOKENS, layers=2, channels=16, heads=HEADS)).double()
    for block in model.blocks:
        attention = block.attention
        for name in ("key", "value") if kv_heads < HEADS else ():
            whole = getattr(attention, name)
            fewer = nn.Linear(16, kv_heads * attention.width, bias=whole.bias is not None, dtype=torch.float64)
            setattr(attention, name, fewer)
        attention.attend = partial(F.scaled_dot_product_attention, enable_gqa=True)
        as_masked(attention, causal)
    return model


def as_masked(attention, causal: bool) -> None:
    """Replace the attention's mask, which is causal in a GPT, if it is not to be."""
    attend = attention.attend
    if not causal:
        attention.attend = lambda q, k, v, is_causal, **kwargs: attend(q, k, v, is_causal=False, **kwargs)


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
    from lab_utils.strategies.model.context.parallel import context_parallel, step
    from lab_utils.strategies.model.placement import snapshot

    mesh = Mesh(**degrees)
    model = model_of(variant)
    optimizer = optimizer_of(model)
    split = context_parallel(model, mesh, TOKENS, method)
    if mesh.cp > 1:
        for block in model.blocks:
            as_masked(block.attention, VARIANTS[variant][1])
    for x, y in batches(steps):
        mine = [each.tensor_split(mesh.dp)[mesh.mine["dp"]] for each in (x, y)]
        loss = step(model, optimizer, *mine, split, mesh)
    return snapshot(model, loss, mesh)


def all_of(degrees: dict, methods: tuple[str, ...]) -> dict:
    """{(method, variant): snapshot}."""
    return {(method, variant): trained(degrees, method, variant) for method in methods for variant in VARIANTS}
