"""Traces of a step with a parameter server, with a ring and with DataParallel, for models too large for this machine.

They have the ops that a recording of synchronous.py, all_reduce.py or one_process_on_ranks.py would have, but for the
server's notes of 16 bytes and the inputs that DataParallel scatters, and are placed in time like any trace. No torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from lab_utils.timeline import Op, Trace

GROUP = "world"
SERVER = 0  # as in push_pull.py, which needs torch


def server_step(ranks: int, parameter_bytes: int, flops: int = 0) -> Trace:
    """Return the trace of a step where rank 0 receives a gradient from each other rank, then sends each the parameters.

    flops   of a worker's forward and backward; the server's update counts as zero

    >>> server_step(ranks=8, parameter_bytes=500_000_000).timeline(hardware).makespan_s
    """
    if ranks < 2:
        raise ValueError(f"{ranks} rank: a parameter server needs 2 or more, itself and a worker")
    workers = range(SERVER + 1, ranks)
    serves = tuple(_serves(workers, parameter_bytes))
    return Trace((serves, *(tuple(_works(worker, parameter_bytes, flops)) for worker in workers)))


def ring_step(ranks: int, parameter_bytes: int, flops: int = 0) -> Trace:
    """Return the trace of a step where every rank all-reduces its gradients, by the hardware's algorithm."""
    members = tuple(range(ranks))
    return Trace(
        tuple(
            (*_computes(rank, flops), Op(rank, "collective", "all_reduce", GROUP, members, bytes=parameter_bytes))
            for rank in members
        )
    )


def one_process_step(devices: int, parameter_bytes: int, flops: int = 0, output_bytes: int = 0) -> Trace:
    """Return the trace of a DataParallel step: the first device sends parameters, and receives outputs and gradients.

    A rank per device, and copies one after the other.

    flops          of a device's forward and backward, a third of them in the forward
    output_bytes   of a device's outputs, gathered between the two
    """
    rows = (
        tuple(
            chain(
                _copies(rank, devices, parameter_bytes, "replicate", 0),
                _computes(rank, flops // 3),
                _copies(rank, devices, output_bytes, "gather", 0),
                _computes(rank, flops - flops // 3),
                _copies(rank, devices, parameter_bytes, "reduce", 1),
            )
        )
        for rank in range(devices)
    )
    return Trace(tuple(rows))


def _copies(rank: int, devices: int, size_bytes: int, name: str, seq: int) -> Iterator[Op]:
    """Yield the copies between the first device and each other one: from it to replicate, else to it."""
    kind = "send" if (rank == 0) == (name == "replicate") else "recv"
    peers = range(1, devices) if rank == 0 else (0,)
    for peer in peers:
        yield Op(rank, kind, kind, GROUP, seq=seq, bytes=size_bytes, peer=peer, phase=name)


def _serves(workers: range, size_bytes: int) -> Iterator[Op]:
    for kind, name in (("recv", "push"), ("send", "pull")):
        yield from (Op(SERVER, kind, kind, GROUP, bytes=size_bytes, peer=worker, phase=name) for worker in workers)


def _works(rank: int, size_bytes: int, flops: int) -> Iterator[Op]:
    yield from _computes(rank, flops)
    for kind, name in (("send", "push"), ("recv", "pull")):
        yield Op(rank, kind, kind, GROUP, bytes=size_bytes, peer=SERVER, phase=name)


def _computes(rank: int, flops: int) -> Iterator[Op]:
    if flops:
        yield Op(rank, "compute", "compute", flops=flops, kernels=1, phase="forward and backward")
