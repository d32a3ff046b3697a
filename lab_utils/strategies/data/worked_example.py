"""The documents' worked example: 1,000 samples, 10 inputs, 100 hidden units, 1 output, on one rank or on several.

    torchrun --nproc-per-node 2 -m lab_utils.strategies.data.worked_example

The curve does not depend on the number of ranks, even where it does not divide the batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from lab_utils.comm.recorder.recorder import phase
from lab_utils.strategies.data.all_reduce import mean
from lab_utils.strategies.data.buckets.overlapped import Buckets

INPUTS, HIDDEN, OUTPUTS = 10, 100, 1


@dataclass(frozen=True, slots=True)
class Example:
    """The example's numbers. `batch` is the global batch.

    is_noise   labels are random, as in the documents: no model can then have a held-out loss below their variance,
               1/12. Otherwise a label is the dot product of the first five inputs with the last five
    """

    samples: int = 1000
    trained_on: int = 800
    learning_rate: float = 0.1
    epochs: int = 10
    batch: int = 32
    is_noise: bool = False
    seed: int = 0


def train(example: Example = Example(), rank: int = 0, ranks: int = 1) -> tuple[nn.Module, dict[str, list[float]]]:
    """Train; return the model and its curve, one number per epoch, the same for any number of ranks.

    curve["trained"] is the mean loss (MSE) of an epoch's batches, each before its update; curve["held_out"] the loss
    of the held-out samples after the epoch.
    """
    (x, y), held_out = data(example)
    model = network(example)
    optimizer = torch.optim.SGD(model.parameters(), example.learning_rate)
    if ranks > 1:
        Buckets(model)
    curve = {"trained": [], "held_out": []}
    for epoch in range(example.epochs):
        losses = []
        for batch in batches(example, epoch):
            mine = batch.tensor_split(ranks)[rank]
            # n / batch times each rank's sum: the mean over n ranks is then the batch's mean.
            losses.append(step(model, optimizer, x[mine], y[mine], ranks / len(batch), ranks))
        curve["trained"].append(torch.stack(losses).mean().item())
        with torch.no_grad():
            curve["held_out"].append(mse_loss(model(held_out[0]), held_out[1]).item())
    return model, curve


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, weight: float, ranks: int) -> Tensor:
    """Run one step on this rank's x [b, INPUTS], y [b, OUTPUTS], b >= 0; return the batch's loss before it, []."""
    optimizer.zero_grad()
    with phase("forward"):
        loss = weight * mse_loss(model(x), y, reduction="sum")
    with phase("backward"):
        loss.backward()
    with phase("update"):
        optimizer.step()
    return loss.detach() if ranks == 1 else mean(loss)


def data(example: Example) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return (x, y) to train on and (x, y) held out: x [samples, INPUTS], y [samples, OUTPUTS]."""
    draw = torch.Generator().manual_seed(example.seed)
    x = torch.rand(example.samples, INPUTS, generator=draw, dtype=torch.float64)
    noise = torch.rand(example.samples, OUTPUTS, generator=draw, dtype=torch.float64)
    y = noise if example.is_noise else (x[:, :5] * x[:, 5:]).sum(1, keepdim=True)
    cut = example.trained_on
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])


def network(example: Example) -> nn.Module:
    """Return the model, the same on every rank whatever the state of its generator."""
    with torch.random.fork_rng():
        torch.manual_seed(example.seed)
        return nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, OUTPUTS)).double()


def batches(example: Example, epoch: int) -> Iterator[Tensor]:
    """Yield the sample numbers of each batch of this epoch, in an order that is the same on every rank."""
    draw = torch.Generator().manual_seed(example.seed + 1 + epoch)
    yield from torch.randperm(example.trained_on, generator=draw).split(example.batch)


def main() -> None:
    """Run one rank of a torchrun."""
    dist.init_process_group("gloo")
    _, curve = train(rank=dist.get_rank(), ranks=dist.get_world_size())
    if dist.get_rank() == 0:
        for epoch, (trained, held_out) in enumerate(zip(*curve.values(), strict=True), start=1):
            print(f"epoch {epoch}: loss {trained:.6f}, held out {held_out:.6f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
