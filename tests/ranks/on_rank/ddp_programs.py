"""Steps of DDP models for 4 ranks: right ones, and some in which a rank leaves the others in the middle."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel as DDP

held: dict[str, Any] = {}


class Net(nn.Module):
    """Its last layer comes first in the forward: gradients do not arrive in the order of the parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.second, self.first = nn.Linear(6, 2), nn.Linear(4, 6)

    def forward(self, x: Tensor, hook: Callable[[Tensor], None] | None = None) -> Tensor:
        between = torch.relu(self.first(x))
        if hook is not None:
            between.register_hook(hook)
        return self.second(between)


def twice_the_mean(_, bucket):  # DDP wants its annotations as classes, or none
    future = dist.all_reduce(bucket.buffer(), async_op=True).get_future()
    return future.then(lambda done: done.value()[0] * (2 / dist.get_world_size()))


KINDS = {
    "plain": {},
    "buckets": {"bucket_cap_mb": 1e-5},
    "views": {"gradient_as_bucket_view": True},
    "unused": {"find_unused_parameters": True},
    "static": {"static_graph": True},
    "hook": {},
    "builtin": {},
}


def make(kind: str, name: str = "ddp") -> None:
    torch.manual_seed(0)
    ddp = held[name] = DDP(Net(), **KINDS[kind])
    if kind == "hook":
        ddp.register_comm_hook(None, twice_the_mean)
    if kind == "builtin":
        ddp._register_builtin_comm_hook(dist.BuiltinCommHookType.ALLREDUCE)


def right_steps(count: int, name: str = "ddp", factor: float = 1.0) -> float:
    """Return the largest difference of a gradient from the mean over ranks, times the hook's factor."""
    ddp, off = held[name], 0.0
    for _ in range(count):
        ddp.zero_grad()
        x = torch.randn(5, 4, generator=torch.Generator().manual_seed(dist.get_rank()))
        wanted = torch.autograd.grad(ddp.module(x).sum(), [*ddp.module.parameters()])
        ddp(x).sum().backward()
        for gradient, parameter in zip(wanted, ddp.module.parameters(), strict=True):
            dist.all_reduce(gradient)
            off = max(off, (gradient * factor / dist.get_world_size() - parameter.grad).abs().max().item())
    return off


def broadcasts(name: str = "ddp") -> bool:
    """Return whether the model's buckets were rebuilt since its reducer was made."""
    return held[name]._has_rebuilt_buckets


# ------------------------------------------------------------------ in the middle of a step
def x() -> Tensor:
    return torch.ones(5, 4)


def backward_without(rank: int) -> None:
    loss = held["ddp"](x()).sum()
    if dist.get_rank() != rank:
        loss.backward()


def backward_only_on(rank: int) -> None:
    loss = held["ddp"](x()).sum()
    if dist.get_rank() == rank:
        loss.backward()


def step_without(rank: int) -> None:
    if dist.get_rank() != rank:
        held["ddp"](x()).sum().backward()


def fail_within(rank: int) -> None:
    """After the gradients of the layer behind have arrived."""
    held["ddp"](x(), fail if dist.get_rank() == rank else None).sum().backward()


def fail(_: Tensor) -> None:
    raise ValueError("planted")


def keep_a_loss(name: str) -> None:
    held["loss"] = held[name](x() * dist.get_rank()).sum()


def backward_of_the_kept(name: str) -> list[float]:
    held[name].zero_grad()
    held["loss"].backward()
    return held[name].module.second.bias.grad.tolist() + held[name].module.second.weight.grad.flatten().tolist()


def mark_as_with_optimizers_in_backward() -> None:
    """As `_apply_optimizer_in_backward` marks them, which DDP then runs on accelerators only."""
    for parameter in held["ddp"].module.parameters():
        parameter._in_backward_optimizers = []


def step() -> None:
    held["ddp"](x()).sum().backward()


def forward_beside_the_end_of_backward() -> bool:
    """Return whether a step that ends is told from one that another thread begins just then."""
    from lab_utils.ranks.on_rank import ddp_models

    for name in ("ddp", "beside"):
        make("plain", name)
    progress, begun = ddp_models._progress, []

    def look(ddp: DDP) -> tuple[list[int], bool]:
        ddp_models._progress = progress
        thread = threading.Thread(target=lambda: begun.append(held["beside"](torch.ones(5, 4))))
        thread.start()
        thread.join()
        return progress(ddp)

    loss = held["ddp"](torch.ones(5, 4)).sum()
    ddp_models._progress = look
    try:
        loss.backward()
    finally:
        ddp_models._progress = progress
    told = [held[name] in ddp_models._at_forward for name in ("ddp", "beside")]
    begun[0].sum().backward()
    return told == [False, True]
