"""The process groups of a mesh, on a rank: formed once per world, in the same order on every rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from lab_utils.comm.process_group.forming_groups import epoch_of_groups

Ranks = tuple[int, ...]
Axes = tuple[str, ...]


class Groups:
    """This rank's group along each of the axes; `formed` keeps them."""

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self._by_members: dict[Ranks, dist.ProcessGroup] = {tuple(range(dist.get_world_size())): dist.group.WORLD}
        self._asked: set[tuple[Ranks, ...]] = set()
        self._device_mesh: DeviceMesh | None = None

    def group(self, axes: Axes, groups: tuple[Ranks, ...]) -> dist.ProcessGroup:
        """Return the one of these groups that this rank is in; form all of them when they are asked for first.

        Each rank goes through all groups: c10d numbers them by the order in which they are made, so that ranks which
        made only their own, or in another order, would share one with the wrong members.
        """
        if groups not in self._asked:
            for members in groups:
                if members not in self._by_members and (len(members) > 1 or self.rank in members):
                    self._form(members, "_".join(axes))
            self._asked.add(groups)
        return next(self._by_members[members] for members in groups if self.rank in members)

    def _form(self, members: Ranks, named: str) -> None:
        alone = len(members) == 1  # no other rank is waited for
        self._by_members[members] = dist.new_group(members, use_local_synchronization=alone, group_desc=named)

    def destroy(self) -> None:
        for group in self._by_members.values():
            if group is not dist.group.WORLD and group is not dist.GroupMember.NON_GROUP_MEMBER:
                dist.destroy_process_group(group)

    def device_mesh(self, sizes: Mapping[str, int], groups: Sequence[dist.ProcessGroup]) -> DeviceMesh:
        """Return torch's mesh of these dims on these groups, one per dim."""
        if self._device_mesh is None:
            ranks = torch.arange(dist.get_world_size()).view(*sizes.values())
            kind = "cuda" if "nccl" in dist.get_backend() else "cpu"
            self._device_mesh = DeviceMesh.from_group(list(groups), kind, mesh=ranks, mesh_dim_names=tuple(sizes))
        return self._device_mesh


_of_world: tuple[tuple, dict[tuple, Groups]] = ((None, None), {})


def formed(ranks: int, together: Sequence[tuple[Axes, tuple[Ranks, ...]]]) -> Groups:
    """Return the groups of the mesh with these groups along its axes, formed on the first call in this world.

    ValueError when the world has another number of ranks.
    """
    global _of_world
    if ranks != dist.get_world_size():
        raise ValueError(
            f"the mesh has {ranks} ranks, and {dist.get_world_size()} run: make it of as many, or start as many ranks"
        )
    # The lab's ranks keep their world when one is replaced: all of them form its groups again, as the new one has none.
    world = (dist.group.WORLD, epoch_of_groups())
    if _of_world[0] != world:
        for before in _of_world[1].values() if _of_world[0][0] is world[0] else ():
            before.destroy()
        _of_world = (world, {})
    key = tuple(together)
    if key not in _of_world[1]:
        made = Groups()
        for axes, groups in together:
            made.group(axes, groups)
        _of_world[1][key] = made  # whole: an interrupt may have ended it before
    return _of_world[1][key]
