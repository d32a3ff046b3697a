"""Plain torch programs with places at which a fault may strike.

Every step ends with two collectives over all ranks, which must give the same number: a fault may skip one of them,
swap the two, or change the shape of one's tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils.soak.faults import MICROBATCHES
from lab_utils.soak.planted import Planted

WIDTH = 32
BATCH = 2 * MICROBATCHES
Sums = list[tuple[float, float]]  # per step: the sum by all-reduce and by all-gather


class Net(nn.Module):
    """Two linear layers with a ReLU: [batch, width] -> [batch, width]."""

    def __init__(self, planted: Planted):
        super().__init__()
        self.first, self.second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self._planted = planted

    def forward(self, x: Tensor) -> Tensor:
        self._planted.at("forward")
        hidden = torch.relu(self.first(x))
        if hidden.requires_grad:
            hidden.register_hook(self._in_backward)
        return self.second(hidden)

    def _in_backward(self, _gradient: Tensor) -> None:
        """Backward hook between the second layer's gradients and the first's."""
        self._planted.at("backward")


def ddp(planted: Planted, steps: Iterable[int]) -> Sums:
    from torch.nn.parallel import DistributedDataParallel

    return _train_alike(planted, steps, DistributedDataParallel(make_net(planted)))


def fsdp(planted: Planted, steps: Iterable[int]) -> Sums:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    net, mesh = make_net(planted), init_device_mesh("cpu", (dist.get_world_size(),))
    for part in (net.first, net.second, net):
        fully_shard(part, mesh=mesh)
    return _train_alike(planted, steps, net)


def pipeline(planted: Planted, steps: Iterable[int]) -> Sums:
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B

    rank, ranks = dist.get_rank(), dist.get_world_size()
    net = make_net(planted)
    stage = PipelineStage(net, rank, ranks, torch.device("cpu"))
    microbatches = max(MICROBATCHES, ranks)  # 1F1B needs at least one per stage
    schedule = Schedule1F1B(stage, n_microbatches=microbatches, loss_fn=nn.functional.mse_loss)
    x = torch.randn(2 * microbatches, WIDTH)  # the same on every rank
    given, wanted = (x,) if rank == 0 else (), {"target": x} if rank == ranks - 1 else {}

    def loss_of_step() -> Tensor:
        losses: list[Tensor] = []
        schedule.step(*given, **wanted, losses=losses)
        return torch.stack(losses).mean() if losses else torch.zeros(())

    return _train(planted, steps, net, loss_of_step)


def plain(planted: Planted, steps: Iterable[int]) -> Sums:
    """Pass every rank's tensor once round the ring and sum them, without a model."""
    sums: Sums = []
    for step in steps:
        planted.begin(step)
        planted.at("start")
        carried = torch.full((WIDTH,), float(dist.get_rank() + step))
        total = carried.clone()
        for _ in range(dist.get_world_size() - 1):
            carried = _pass_on(planted, carried)
            total += carried
        sums.append(agree(planted, total.mean()))
    return sums


# ---------------------------------------------------------------------- training
def make_net(planted: Planted) -> Net:
    torch.manual_seed(0)
    return Net(planted)


def _train_alike(planted: Planted, steps: Iterable[int], model: nn.Module) -> Sums:
    """Train a model that every rank calls as a whole, on its own part of the batch."""
    x = torch.randn(BATCH, WIDTH) + dist.get_rank()

    def loss_of_step() -> Tensor:
        loss = nn.functional.mse_loss(model(x), x)
        loss.backward()
        return loss

    return _train(planted, steps, model, loss_of_step)


def _train(planted: Planted, steps: Iterable[int], model: nn.Module, loss_of_step: Callable[[], Tensor]) -> Sums:
    """Train for these steps; `loss_of_step` also computes the gradients."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    sums: Sums = []
    for step in steps:
        planted.begin(step)
        planted.at("start")
        loss = loss_of_step()
        planted.at("optimizer")
        optimizer.step()
        optimizer.zero_grad()
        sums.append(agree(planted, loss))
    return sums


# ---------------------------------------------------------------------- communication
def agree(planted: Planted, loss: Tensor) -> tuple[float, float]:
    """Return the sum of the loss over all ranks, by an all-reduce and by an all-gather."""
    wrong = planted.at("agree")
    own = loss.detach().reshape(1)
    total, each = own.clone(), torch.empty(dist.get_world_size())
    given = mis_shaped(total, planted.how) if wrong == "shape" else total
    ops = [lambda: dist.all_reduce(given), lambda: dist.all_gather_single(each, own)]
    if wrong == "swap":
        ops.reverse()
    if wrong == "skip":
        ops.pop(0 if planted.how == "first" else 1)
    for op in ops:
        op()
    return total.item(), each.sum().item()


def _pass_on(planted: Planted, carried: Tensor) -> Tensor:
    """Do one step of the ring: send to the right, receive from the left."""
    wrong, rank, ranks = planted.at("message"), dist.get_rank(), dist.get_world_size()
    skipped = planted.how if wrong == "skip" else ""
    given = mis_shaped(carried, planted.how) if wrong == "shape" else carried
    sending = None if skipped == "first" else dist.isend(given, (rank + 1) % ranks)
    arrived = torch.zeros_like(carried)
    if skipped != "second":
        dist.recv(arrived, (rank - 1) % ranks)
    if sending is not None:
        sending.wait()
    return arrived


def mis_shaped(right: Tensor, how: str) -> Tensor:
    """Return a tensor that mismatches the other ranks': "longer", "shorter", or of another dtype."""
    if how == "longer":
        return torch.cat([right, right])
    return right[:-1].clone() if how == "shorter" else right.to(getattr(torch, how))
