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


def per_token(**options):
    """Two mixtures that see each token alone, so that a sequence can be cut without attention's help."""
    import torch
    from torch import nn

    from lab_utils.strategies.model.experts import MixtureOfExperts

    class PerToken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(VOCABULARY, CHANNELS)
            given = EXPERTS | options
            self.blocks = nn.ModuleList(MixtureOfExperts(CHANNELS, **given) for _ in range(2))
            self.head = nn.Linear(CHANNELS, VOCABULARY)

        def forward(self, ids):
            x = self.tokens(ids)
            for block in self.blocks:
                x = x + block(nn.functional.rms_norm(x, x.shape[-1:]))
            return self.head(x), None

    torch.manual_seed(SEED)
    return PerToken().double()


MODELS = {"gpt": gpt, "per token": per_token}


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
    at = mesh.mine
    return tensor.chunk(mesh.dp)[at["dp"]].chunk(mesh.cp, dim=1)[at["cp"]]


def backward(model, x, y, mesh, micro: int = 1, balanced=None):
    """Forward and backward of this rank's part; its part of the global loss, the balance loss included."""
    import torch

    from lab_utils.strategies.model.experts import balance_loss, count_first

    balanced, targets = balanced or balance_loss, (y != -100).sum()
    mine = list(zip(part(x, mesh).chunk(micro), part(y, mesh).chunk(micro), strict=True))
    counted = count_first(model, [each for each, _ in mine], mesh) if micro > 1 else None
    total = 0.0
    for each, wanted in mine:
        if isinstance(getattr(model, "loss", None), functools.partial):  # of logits that are cut over tp
            loss = model(each, wanted)[1]
        else:
            logits = model(each)[0].flatten(0, 1)
            loss = torch.nn.functional.cross_entropy(logits, wanted.flatten(), reduction="sum") / targets
        loss = loss + (balanced(model, mesh, counted) if counted else balanced(model, mesh))
        loss.backward()
        total = total + loss.detach()
    return total


def trained(
    degrees=None, which="gpt", options=None, steps=STEPS, micro=1, clip=None, plan=None, sequence=False, **how
):  # fmt: skip
    """A snapshot after so many steps; the mesh is of these degrees, serial without them.

    plan   the name of a plan that splits all of the model; without one the experts alone are
    """
    import torch

    from lab_utils.strategies import serial
    from lab_utils.strategies.mesh import Mesh
    from lab_utils.strategies.model import placement
    from lab_utils.strategies.model.experts import Mixture, expert_parallel
    from lab_utils.strategies.model.tensor_parallel import plans, split

    model, mesh = MODELS[which](**options or {}), Mesh(**degrees) if degrees is not None else None
    if plan is not None:
        split(model, getattr(plans, plan) | {"blocks.*.mlp": Mixture(**how)}, mesh, sequence)
    elif mesh is not None:
        expert_parallel(model, mesh, **how)
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
