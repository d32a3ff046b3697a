"""Data parallelism within one process, a thread for each device: replicate, scatter, apply in parallel, gather.

As torch.nn.DataParallel. A process for each rank has replaced it (Li et al. 2020, "PyTorch Distributed", VLDB 13,
section 2.2), because here
- one Python interpreter feeds all devices, and its lock lets one thread at a time do that;
- every step copies all parameters to every device, where ranks exchange gradients once and keep replicas;
- outputs and gradients meet on the first device, whose link and memory become the bottleneck, as a server's do;
- devices of one machine are all there is.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_leaves, tree_map

from lab_utils.comm.recorder.recorder import phase

Replica = tuple[nn.Module, dict[str, Tensor]]  # modules, and the tensors that take the place of theirs


class DataParallel:
    """A model whose forward is spread over devices; its backward brings the gradients back by itself.

    >>> parallel = DataParallel(model, ["cuda:0", "cuda:1"])      # the model lies on the first
    >>> loss = loss_of(parallel(x), y)                            # x [B, ...], and the output [B, ...] is whole

    A device may be named twice: on a machine without GPUs, ["cpu", "cpu"]. An output that is one number, such as the
    loss a model makes itself, becomes the mean over the batch of what the devices' parts made.
    """

    def __init__(self, model: nn.Module, devices: Sequence[torch.device | str]) -> None:
        self.model, self.devices = model, [torch.device(device) for device in devices]

    def __call__(self, *inputs: Any) -> Any:
        with phase("scatter"):
            parts = scatter(inputs, self.devices)
        with phase("replicate"):
            replicas = replicate(self.model, self.devices[: len(parts)])
        with phase("apply"):
            outputs = parallel_apply(replicas, parts)
        with phase("gather"):
            return gather(outputs, [_samples(part) for part in parts], self.devices[0])


def scatter(inputs: tuple, devices: Sequence[torch.device]) -> list[tuple]:
    """Each device's part of every tensor, cut along dim 0; no part without a sample. What is no tensor goes to all."""
    count = max(1, min(len(devices), _samples(inputs)))

    def part(number: int, leaf: Any) -> Any:
        return leaf.tensor_split(count)[number].to(devices[number]) if isinstance(leaf, Tensor) else leaf

    return [tree_map(partial(part, number), inputs) for number in range(count)]


def replicate(model: nn.Module, devices: Sequence[torch.device]) -> list[Replica]:
    """The model's modules once more for each device, with copies of its parameters that gradients flow back through.

    The first has the model's own buffers, so that running means are kept; what the others make of theirs is lost.
    """
    own = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    replicas = []
    for number, device in enumerate(devices):
        tensors = {name: parameter.to(device, copy=True) for name, parameter in model.named_parameters()}
        tensors |= {name: buffer.to(device, copy=number > 0) for name, buffer in model.named_buffers()}
        replicas.append((copy.deepcopy(model, dict(own)), tensors))  # modules are copied, the tensors in them are not
    return replicas


def parallel_apply(replicas: Sequence[Replica], parts: Sequence[tuple]) -> list:
    """Each replica's output for its part, each in a thread of its own. Raises what the first one to fail raised."""
    grad, kind = torch.is_grad_enabled(), next(iter(replicas[0][1].values())).device.type
    dtype, casts = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)

    def apply(replica: Replica, part: tuple) -> Any:
        with torch.set_grad_enabled(grad), torch.autocast(kind, dtype, casts):  # a thread has modes of its own
            return functional_call(*replica, part)

    with ThreadPoolExecutor(len(replicas)) as pool:
        return list(pool.map(apply, replicas, parts))


def gather(outputs: Sequence[Any], samples: Sequence[int], device: torch.device) -> Any:
    """The parts' outputs as one on this device: joined along dim 0; numbers as their mean, weighted by samples."""

    def join(*leaves: Any) -> Any:
        if not isinstance(leaves[0], Tensor):
            return leaves[0]
        if leaves[0].dim():
            return torch.cat([leaf.to(device) for leaf in leaves])
        return sum(leaf.to(device) * (count / sum(samples)) for leaf, count in zip(leaves, samples, strict=True))

    return tree_map(join, *outputs)


def _samples(inputs: tuple) -> int:
    """How many samples the first tensor has. ValueError when there is none to scatter."""
    tensors = [leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor)]
    if not tensors:
        raise ValueError(f"inputs of {[type(each).__name__ for each in inputs]}: there is no tensor to scatter")
    return len(tensors[0])
