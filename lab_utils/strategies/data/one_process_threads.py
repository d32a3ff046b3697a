"""Data parallelism within one process, with one thread per device: replicate, scatter, apply in parallel, gather.

As torch.nn.DataParallel. One process per rank has replaced it (Li et al. 2020, "PyTorch Distributed", VLDB 13, section
2.2), because here
- the threads share one Python interpreter and its lock;
- every step copies all parameters to every device, where ranks exchange gradients once and keep replicas;
- outputs and gradients meet on the first device, whose link and memory become the bottleneck, as a server's do;
- the devices belong to one machine.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_leaves, tree_map

from lab_utils.comm.recorder.recorder import phase

Replica = tuple[nn.Module, dict[str, Tensor]]  # a copy of the modules, and the tensors to call it with


class DataParallel:
    """A model whose forward is spread over devices; autograd sums the gradients on the first one.

    >>> parallel = DataParallel(model, ["cuda:0", "cuda:1"])      # the model is on the first
    >>> loss = loss_of(parallel(x), y)                            # x and the output are whole, [B, ...]

    A device may appear twice: ["cpu", "cpu"] without GPUs. An output that is a single number, such as a loss, becomes
    the mean over the devices' parts, weighted by their samples.
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
    """Return each device's part of the tensors, cut along dim 0, none without samples; other inputs go to all."""
    count = max(1, min(len(devices), _samples(inputs)))

    def part(number: int) -> tuple:
        return tree_map(lambda t: t.tensor_split(count)[number].to(devices[number]) if _is_tensor(t) else t, inputs)

    return [part(number) for number in range(count)]


def replicate(model: nn.Module, devices: Sequence[torch.device]) -> list[Replica]:
    """Return a replica per device, with copies of the parameters through which gradients flow back.

    The first uses the model's own buffers, so that running means are kept; changes to the others' are lost.
    """
    own = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    replicas = []
    for number, device in enumerate(devices):
        tensors = {name: parameter.to(device, copy=True) for name, parameter in model.named_parameters()}
        tensors |= {name: buffer.to(device, copy=number > 0) for name, buffer in model.named_buffers()}
        replicas.append((copy.deepcopy(model, dict(own)), tensors))  # copies the modules, not the tensors in them
    return replicas


def parallel_apply(replicas: Sequence[Replica], parts: Sequence[tuple]) -> list:
    """Return each replica's output for its part, one thread each. Re-raises the first error."""
    grad, kind = torch.is_grad_enabled(), next(iter(replicas[0][1].values())).device.type
    dtype, casts = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)

    def apply(replica: Replica, part: tuple) -> Any:
        with torch.set_grad_enabled(grad), torch.autocast(kind, dtype, casts):  # these modes are per thread
            return functional_call(*replica, part)

    with ThreadPoolExecutor(len(replicas)) as pool:
        return list(pool.map(apply, replicas, parts))


def gather(outputs: Sequence[Any], samples: Sequence[int], device: torch.device) -> Any:
    """Return the outputs joined along dim 0 on this device; numbers become their mean, weighted by samples."""

    def join(*leaves: Any) -> Any:
        if not _is_tensor(leaves[0]):
            return leaves[0]
        if leaves[0].dim():
            return torch.cat([leaf.to(device) for leaf in leaves])
        return sum(leaf.to(device) * (count / sum(samples)) for leaf, count in zip(leaves, samples, strict=True))

    return tree_map(join, *outputs)


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, Tensor)


def _samples(inputs: tuple) -> int:
    """Return the number of samples of the first tensor. ValueError without one."""
    tensors = list(filter(_is_tensor, tree_leaves(inputs)))
    if not tensors:
        raise ValueError(f"inputs of {[type(each).__name__ for each in inputs]}: there is no tensor to scatter")
    return len(tensors[0])
