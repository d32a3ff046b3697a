"""Groups that the user makes give up when the world does, and leave no threads behind longer than it."""

from __future__ import annotations

import pytest

from lab_utils import start_ranks
from lab_utils.ranks import RanksStuck

TIMEOUT_S = 2.0


def come_late_to_a_group(rank: int) -> None:
    import time

    import torch
    import torch.distributed as dist

    group = dist.new_group([0, 1])
    if dist.get_rank() == rank:
        time.sleep(20 * TIMEOUT_S)
    dist.all_reduce(torch.ones(2), group=group)


def timeouts_s() -> list[float]:
    from datetime import timedelta

    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh

    mesh = init_device_mesh("cpu", (2, 1), mesh_dim_names=("dp", "tp"))
    asked = dist.new_group([0, 1], timeout=timedelta(seconds=77))
    return [group._timeout.total_seconds() for group in (mesh.get_group("dp"), mesh.get_group("tp"), asked)]


def test_a_group_gives_up_when_the_world_does_unless_asked_otherwise() -> None:
    with start_ranks(2, timeout_s=TIMEOUT_S) as ranks:
        assert ranks.run(timeouts_s) == [[TIMEOUT_S, TIMEOUT_S, 77.0]] * 2
        with pytest.raises(RanksStuck, match=r"^rank 1 is in all_reduce #0 on group 0,1.*; rank 0 is still computing"):
            ranks.run(come_late_to_a_group, 0)
