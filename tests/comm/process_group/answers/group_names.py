"""Programs about a group's backend and what only gloo has, for test_recorded_group.py."""

from __future__ import annotations

from datetime import timedelta

import torch
import torch.distributed as dist


def watched_barrier() -> None:
    """The barrier of gloo's that names ranks which do not come."""
    dist.monitored_barrier()


def watched_barrier_without(rank: int) -> str:
    """What each rank is told when one comes only after the others have given up."""
    store = dist.distributed_c10d._get_default_store()
    if dist.get_rank() == rank:
        store.wait(["given up"])
    try:
        dist.monitored_barrier(timeout=timedelta(seconds=0.5), wait_all_ranks=True)
    except RuntimeError as error:
        return str(error)
    finally:
        store.set("given up", "")
    return "all came"


def known_as() -> list[tuple[str, str]]:
    """By what names programs know groups."""
    groups = dist.group.WORLD, dist.new_group(), dist.new_group(backend="gloo"), dist.new_group([0, 1])
    return [
        (dist.get_backend(group), dist.get_backend_config(group))
        for group in groups if group is not dist.GroupMember.NON_GROUP_MEMBER
    ]  # fmt: skip


def on_groups_of_gloo() -> None:
    """A group for which gloo is asked by name is recorded too, and one of "cpu:gloo" is not."""
    for backend in ("gloo", "cpu:gloo"):
        dist.all_reduce(torch.ones(2), group=dist.new_group(backend=backend))
