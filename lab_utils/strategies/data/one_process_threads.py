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

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lab_utils.comm.recorder.recorder import phase

Replica = tuple[nn.Module, dict[str, Tensor]]  # a copy of the modules, and the tensors to call it with


class DataParallel:
    """A model whose forward is spread over devices; autograd sums the gradients on the first one.

    >>> parallel = DataParallel(model, ["cuda:0", "cuda:1"])      # the model is on the first
    >>> logits, loss = parallel(x, y)                             # inputs and outputs are whole, [B, ...]

    For models from tensors to a tuple of tensors. A device may appear twice: ["cpu", "cpu"] without GPUs.
    """

    def __init__(self, model: nn.Module, devices: Sequence[torch.device | str]) -> None:
        self.model, self.devices = model, [torch.device(device) for device in devices]

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        with phase("scatter"):
            parts = scatter(inputs, self.devices)
        with phase("replicate"):
            replicas = replicate(self.model, self.devices[: len(parts)])
        with phase("apply"):
            outputs = parallel_apply(replicas, parts)
        with phase("gather"):
            return gather(outputs, [len(part[0]) for part in parts], self.devices[0])


def scatter(inputs: Sequence[Tensor], devices: Sequence[torch.device]) -> list[tuple[Tensor, ...]]:
    """Return each device's part of the inputs [B, ...], cut along dim 0; a device beyond the samples gets none."""
    count = max(1, min(len(devices), len(inputs[0])))
    parts = zip(*(tensor.tensor_split(count) for tensor in inputs), strict=True)
    return [tuple(tensor.to(device) for tensor in part) for part, device in zip(parts, devices, strict=False)]


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

    def apply(replica: Replica, part: tuple) -> tuple:
        with torch.set_grad_enabled(grad), torch.autocast(kind, dtype, casts):  # these modes are per thread
            return functional_call(*replica, part)

    with ThreadPoolExecutor(len(replicas)) as pool:
        return list(pool.map(apply, replicas, parts))


def gather(outputs: Sequence[tuple], samples: Sequence[int], device: torch.device) -> tuple[Tensor, ...]:
    """Return the outputs joined along dim 0 on this device; numbers become their mean, weighted by samples."""

    def join(parts: Sequence[Tensor]) -> Tensor:
        if parts[0].dim():
            return torch.cat([part.to(device) for part in parts])
        return sum(part.to(device) * (count / sum(samples)) for part, count in zip(parts, samples, strict=True))

    return tuple(join(parts) for parts in zip(*outputs, strict=True))
