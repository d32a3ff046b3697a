"""Traces of a step with a parameter server and of one with a ring, for more ranks than this machine can run.

They have the ops that a recording of synchronous.py or all_reduce.py would have, but for the server's notes of 16
bytes, and are placed in time like any trace. No torch.
"""

from __future__ import annotations

from collections.abc import Iterator

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
