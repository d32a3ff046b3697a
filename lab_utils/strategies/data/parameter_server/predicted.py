"""One step with a parameter server, and one with a ring, op by op: for more ranks than a machine can run.

Plain Python: what synchronous.py and all_reduce.py would be recorded to do, without running it (and without the
server's notes of 16 bytes). A trace of it is placed in time like any other.
"""

from __future__ import annotations

from collections.abc import Iterator

from lab_utils.timeline import Op, Trace

GROUP = "world"
SERVER = 0  # as in push_pull.py, which needs torch


def server_step(ranks: int, parameter_bytes: int, flops: int = 0) -> Trace:
    """Rank 0 collects a gradient from each other rank in turn, and answers each with parameters.

    flops   of a worker's forward and backward; the server's update counts as nothing

    >>> server_step(ranks=8, parameter_bytes=500_000_000).timeline(hardware).makespan_s
    """
    if ranks < 2:
        raise ValueError(f"{ranks} rank: a parameter server needs 2 or more, itself and a worker")
    workers = range(SERVER + 1, ranks)
    serves = tuple(_serves(workers, parameter_bytes))
    return Trace((serves, *(tuple(_works(worker, parameter_bytes, flops)) for worker in workers)))


def ring_step(ranks: int, parameter_bytes: int, flops: int = 0) -> Trace:
    """Every rank computes, and all-reduces its gradients; a ring where the hardware's algorithm is one."""
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
