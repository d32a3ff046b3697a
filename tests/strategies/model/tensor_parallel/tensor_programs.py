"""What ranks run in the tests of tensor parallelism."""

from __future__ import annotations

VOCABULARY, BLOCK, BATCH, STEPS, MAX_NORM = 61, 8, 4, 10, 0.5


def gpt(**changes):
    """A small GPT in float64, the same on every rank; 61 tokens divide over no number of ranks."""
    import torch

    from lab_utils.gpt import GPT, GPTConfig

    torch.manual_seed(0)
    sizes = {"vocabulary": VOCABULARY, "block": BLOCK, "layers": 2, "channels": 16, "heads": 4}
    return GPT(GPTConfig(**sizes | changes)).double()


def batches(steps: int):
    """x, y [BATCH, BLOCK] of the global batch for each step; some targets do not count, more of the first sequences."""
    import torch

    draw = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randint(VOCABULARY, (BATCH, BLOCK + 1), generator=draw)
        y = x[:, 1:].clone()
        y[0, :5] = -100
        yield x[:, :-1], y


def train_serially(steps: int = STEPS, max_norm: float | None = MAX_NORM, **changes) -> dict:
    import torch

    from lab_utils.strategies import serial

    model = gpt(**changes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    torch.manual_seed(2)
    for x, y in batches(steps):
        optimizer.zero_grad()
        loss = model(x, y)[1]
        loss.backward()
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
    return serial.snapshot(model, loss)


def train(mesh, sequence: bool, steps: int = STEPS, max_norm: float | None = MAX_NORM, attach=None, **changes) -> dict:
    """What parity compares after so many steps of the split model, on this rank's sequences."""
    import torch

    from lab_utils.strategies.model import placement
    from lab_utils.strategies.model.tensor_parallel import plans, split
    from lab_utils.strategies.model.training import step

    model = split(gpt(**changes), plans.GPT, mesh, sequence)
    if attach is not None:
        attach(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    torch.manual_seed(2)
    for x, y in batches(steps):
        mine = [each.chunk(mesh.dp)[mesh.mine["dp"]] for each in (x, y)]
        loss = step(model, optimizer, *mine, mesh, max_norm)
    return placement.snapshot(model, loss, mesh)
