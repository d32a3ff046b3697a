"""What ranks run in the tests of experts: steps of a small mixture, whole or split, on their parts of each batch."""

from __future__ import annotations

import functools

SEED, STEPS, BATCH, BLOCK, VOCABULARY, CHANNELS = 3, 10, 4, 8, 32, 12
EXPERTS = {"experts": 4, "top_k": 2, "hidden": 16, "balance": 0.02}
WITH_ALL = EXPERTS | {"shared": 8, "activation": "swiglu"}


def gpt(**options):
    """A GPT of mixtures, in float64."""
    import torch

    from lab_utils.gpt import GPT, GPTConfig
    from lab_utils.strategies.model.experts import with_experts

    torch.manual_seed(SEED)
    model = GPT(GPTConfig(VOCABULARY, BLOCK, layers=2, channels=CHANNELS, heads=2)).double()
    return with_experts(model, **EXPERTS | options)


def split(model, mesh, plan=None, sequence=False, **how):
    """Split the mixtures, or all of the model by the plan of that name; and the sequences, where the mesh has cp."""
    from lab_utils.strategies.model.context.parallel import context_parallel
    from lab_utils.strategies.model.experts import Mixture, expert_parallel
    from lab_utils.strategies.model.tensor_parallel import plans
    from lab_utils.strategies.model.tensor_parallel import split as by_plan

    if plan is not None:
        by_plan(model, getattr(plans, plan) | {"blocks.*.mlp": Mixture(**how)}, mesh, sequence)
    else:
        expert_parallel(model, mesh, **how)
    if mesh.cp > 1:
        context_parallel(model, mesh, BLOCK)


def batches(steps: int):
    """x, y [BATCH, BLOCK] of each step, the same on every rank; every fifth target is ignored."""
    import torch

    draw = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randint(VOCABULARY, (BATCH, BLOCK + 1), generator=draw)
        y = x[:, 1:].clone()
        y.view(-1)[::5] = -100
        yield x[:, :-1], y


def part(tensor, mesh):
    """This rank's sequences, and of each its part."""
    if mesh is None or mesh.ranks == 1:
        return tensor
    from lab_utils.strategies.model.context.zigzag import SequenceSplit

    at = mesh.mine
    return SequenceSplit(BLOCK, mesh.cp).own(tensor.chunk(mesh.dp)[at["dp"]], at["cp"])


def backward(model, x, y, mesh, micro: int = 1, balanced=None):
    """Forward and backward of this rank's part; its part of the global loss, the balance loss included."""
    import torch

    from lab_utils.strategies.model.experts import balance_loss, count_first

    balanced, targets = balanced or balance_loss, (y != -100).sum()
    mine = list(zip(part(x, mesh).chunk(micro), part(y, mesh).chunk(micro), strict=True))
    counted = count_first(model, [each for each, _ in mine], mesh) if micro > 1 else None
    total = 0.0
    for each, wanted in mine:
        if isinstance(getattr(model, "loss", None), functools.partial):  # of what is cut over tp or cp
            loss = model(each, wanted)[1]
        else:
            logits = model(each)[0].flatten(0, 1)
            loss = torch.nn.functional.cross_entropy(logits, wanted.flatten(), reduction="sum") / targets
        loss = loss + (balanced(model, mesh, counted) if counted else balanced(model, mesh))
        loss.backward()
        total = total + loss.detach()
    return total


def trained(degrees=None, options=None, steps=STEPS, micro=1, clip=None, **how):
    """A snapshot after so many steps; the mesh is of these degrees, serial without them."""
    import torch

    from lab_utils.strategies import serial
    from lab_utils.strategies.mesh import Mesh
    from lab_utils.strategies.model import placement

    model, mesh = gpt(**options or {}), Mesh(**degrees) if degrees is not None else None
    if mesh is not None:
        split(model, mesh, **how)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    norms = []
    for x, y in batches(steps):
        optimizer.zero_grad()
        loss = backward(model, x, y, mesh, micro)
        if mesh is not None:
            placement.sum_gradients(model, mesh)
        if clip is not None and mesh is not None:
            norms.append(placement.clip(model, clip, mesh).item())
        elif clip is not None:
            norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), clip).item())
        optimizer.step()
    taken = serial.snapshot(model, loss) if mesh is None or mesh.ranks == 1 else placement.snapshot(model, loss, mesh)
    return taken | {"norms": norms}


def several(cases: dict) -> dict:
    """`trained` of each case, in one run of the ranks: {name: its arguments}."""
    return {name: trained(**given) for name, given in cases.items()}
