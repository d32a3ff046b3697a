"""Collectives written with send and receive, ours and a learner's, each followed chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist

from lab_utils.comm import ring_all_gather as own_ring_all_gather
from lab_utils.comm import ring_all_reduce, tree_all_reduce, two_level_all_reduce
from lab_utils.comm import ring_reduce_scatter as own_ring_reduce_scatter
from lab_utils.comm import tree_all_gather as own_tree_all_gather
from lab_utils.comm import tree_reduce_scatter as own_tree_reduce_scatter
from lab_utils.widgets.collective_steps.probe import chunk_flow
from lab_utils.widgets.collective_steps.record import ChunkLog

NUMEL = 24


def followed(collective: str, numel: int = NUMEL) -> tuple[ChunkLog, list[float]]:
    """One of the collectives below on `numel` elements of each rank: its notes, and what came out."""
    rank = dist.get_rank()
    x = torch.arange(numel, dtype=torch.float32) + 100 * rank
    with chunk_flow(x) as flow:
        out = COLLECTIVES[collective](x)
    if out is not None:
        flow.result(out)
    return flow.record(), [] if out is None else out.tolist()


def in_place(collective: Callable, *args) -> Callable:
    def called(x: torch.Tensor) -> torch.Tensor:
        collective(x, *args)
        return x

    return called


def reduce_scatter(collective: Callable) -> Callable:
    def called(x: torch.Tensor) -> torch.Tensor:
        out = torch.empty_like(x.tensor_split(dist.get_world_size())[dist.get_rank()])
        collective(out, x)
        return out

    return called


def all_gather(collective: Callable) -> Callable:
    def called(x: torch.Tensor) -> torch.Tensor:
        out = x.new_empty(dist.get_world_size() * x.numel())
        collective(out, x)
        return out

    return called


# ---------------------------------------------------------------------- as a learner writes them
def _neighbours() -> tuple[int, int, int, int]:
    rank, n = dist.get_rank(), dist.get_world_size()
    return rank, n, (rank + 1) % n, (rank - 1) % n


def _pass_on(x: torch.Tensor) -> torch.Tensor:
    """To the right; what comes from the left."""
    *_, right, left = _neighbours()
    arrived = torch.empty_like(x)
    request = dist.isend(x, right)
    dist.recv(arrived, left)
    request.wait()
    return arrived


def my_ring_all_reduce(x: torch.Tensor, twice: bool = False, shifted: int = 0) -> torch.Tensor:
    """In place on the chunks. `twice` adds in the second half too; `shifted` adds to the wrong chunk."""
    rank, n, *_ = _neighbours()
    chunks = list(x.tensor_split(n))
    for k in range(n - 1):
        chunks[(rank - k - 1 + shifted) % n] += _pass_on(chunks[(rank - k) % n])
    for k in range(n - 1):
        arrived = _pass_on(chunks[(rank + 1 - k) % n])
        if twice:
            chunks[(rank - k) % n] += arrived
        else:
            chunks[(rank - k) % n][:] = arrived
    return x


def my_all_gather(x: torch.Tensor) -> torch.Tensor:
    """Everybody sends to everybody, all at once; stacked as exercise 00.4 asks."""
    rank, n, *_ = _neighbours()
    parts = [x if other == rank else torch.empty_like(x) for other in range(n)]
    requests = [dist.isend(x, other) for other in range(n) if other != rank]
    requests += [dist.irecv(parts[other], other) for other in range(n) if other != rank]
    for request in requests:
        request.wait()
    return torch.stack(parts)


def ring_all_gather_with_a_bug(x: torch.Tensor) -> torch.Tensor:
    """Exercise 00.5: every round sends the own part again."""
    rank, n, *_ = _neighbours()
    out = torch.empty(n, *x.shape)
    out[rank] = x
    for k in range(n - 1):
        out[(rank - k - 1) % n] = _pass_on(out[rank])
    return out


def star_reduce(x: torch.Tensor) -> torch.Tensor | None:
    """All send to rank 0, which takes whoever comes first, and sums a stack."""
    rank, n, *_ = _neighbours()
    if rank:
        return dist.send(x, 0)
    parts = [x] + [torch.empty_like(x) for _ in range(n - 1)]
    for part in parts[1:]:
        dist.recv(part)
    return torch.stack(parts).sum(0)


def tree_broadcast(x: torch.Tensor) -> torch.Tensor:
    """From rank 0, with blocking calls, the widest edge first."""
    rank, n, *_ = _neighbours()
    distance = 1 << (n - 1).bit_length() >> 1
    while distance:
        if rank % (2 * distance) == 0 and rank + distance < n:
            dist.send(x, rank + distance)
        elif rank % (2 * distance) == distance:
            dist.recv(x, rank - distance)
        distance //= 2
    return x


def halving_max(x: torch.Tensor) -> torch.Tensor:
    """All-reduce of the maximum by recursive doubling, in half precision on the wire."""
    rank, n, *_ = _neighbours()
    for level in range((n - 1).bit_length()):
        ours, theirs = x.half(), torch.empty_like(x, dtype=torch.float16)
        works = dist.batch_isend_irecv(
            [dist.P2POp(dist.isend, ours, rank ^ 1 << level), dist.P2POp(dist.irecv, theirs, rank ^ 1 << level)]
        )
        for work in works:
            work.wait()
        torch.maximum(x, theirs.float(), out=x)
    return x


def three_of_four(x: torch.Tensor) -> torch.Tensor | None:
    group = dist.new_group([0, 1, 2])
    if dist.get_rank() > 2:
        return None
    ring_all_reduce(x, group=group)
    return x


def hidden(x: torch.Tensor) -> torch.Tensor:
    """Not ours to see."""
    dist.all_reduce(x)
    return x


COLLECTIVES: dict[str, Callable] = {
    "ring all_reduce": in_place(ring_all_reduce),
    "ring reduce_scatter": reduce_scatter(own_ring_reduce_scatter),
    "ring all_gather": all_gather(own_ring_all_gather),
    "tree all_reduce": in_place(tree_all_reduce),
    "tree reduce_scatter": reduce_scatter(own_tree_reduce_scatter),
    "tree all_gather": all_gather(own_tree_all_gather),
    "two_level all_reduce": in_place(two_level_all_reduce, 2),
    "average": in_place(ring_all_reduce, dist.ReduceOp.AVG),
    "my ring": my_ring_all_reduce,
    "my all_gather": my_all_gather,
    "my reduce": star_reduce,
    "my broadcast": tree_broadcast,
    "my maximum": halving_max,
    "adds twice": lambda x: my_ring_all_reduce(x, twice=True),
    "adds to the wrong chunk": lambda x: my_ring_all_reduce(x, shifted=1),
    "sends its own again": ring_all_gather_with_a_bug,
    "three of four": three_of_four,
    "hidden": hidden,
}
