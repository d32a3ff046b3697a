"""Gives scripts on a rank what torchrun gives: its environment variables, and a working `init_process_group`."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from functools import wraps
from typing import Any

from lab_utils.host.machine import LOOPBACK

_adopted = False  # whether this call has called init_process_group


def set_variables(rank: int, ranks: int, port: int) -> None:
    """Set torchrun's environment variables for one machine, where local rank equals rank."""
    os.environ |= {
        "RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(ranks),
        "GROUP_RANK": "0", "GROUP_WORLD_SIZE": "1", "ROLE_RANK": str(rank), "ROLE_WORLD_SIZE": str(ranks),
        "MASTER_ADDR": LOOPBACK, "MASTER_PORT": str(port), "ROLE_NAME": "default",
        "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "0", "TORCHELASTIC_MAX_RESTARTS": "0",
    }  # fmt: skip


def adopt_the_group() -> None:
    """Let a script's `init_process_group` return with the group that the ranks are in; once per process."""
    import torch.distributed as dist

    c10d = dist.distributed_c10d
    form = c10d.init_process_group

    @wraps(form)
    def init_process_group(
        backend=None,
        init_method=None,
        timeout: timedelta | None = None,
        world_size=-1,
        rank=-1,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        global _adopted
        if _adopted or not dist.is_initialized():  # twice is an error, as it is without the lab
            return form(backend, init_method, timeout, world_size, rank, *args, **kwargs)
        _check(dist, backend, world_size, rank)
        _adopted = True
        if timeout is not None:
            c10d._set_pg_timeout(timeout, dist.group.WORLD)
        print(
            f"init_process_group takes the group that these ranks are in: {dist.get_backend()}, "
            f"{dist.get_world_size()} ranks",
            file=sys.stderr,
        )
        return None

    dist.init_process_group = c10d.init_process_group = init_process_group


def begin_call() -> None:
    global _adopted
    _adopted = False


def _check(dist, backend, world_size: int, rank: int) -> None:
    """ValueError when the script asks for another world size, rank or backend than the group has."""
    there = {"world_size": dist.get_world_size(), "rank": dist.get_rank()}
    for name, wanted in (("world_size", world_size), ("rank", rank)):
        if wanted not in (-1, there[name]):
            raise ValueError(
                f"init_process_group is to have {name} {wanted}, but this rank is in a group already, with {name} "
                f"{there[name]}: leave {name} away, or start as many ranks as the program is for"
            )
    carried = dist.get_backend()
    if backend is not None and carried not in str(backend).lower():
        raise ValueError(
            f"init_process_group is to take {backend}, but this rank is in a group already, on {carried}: "
            "leave the backend away, or call destroy_process_group() first"
        )
