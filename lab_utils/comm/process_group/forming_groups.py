"""The groups of this process: created, left after a failure, and re-formed as the same objects.

`register_backend()` registers the name BACKEND with torch.distributed; afterwards
`dist.init_process_group(BACKEND, ...)` returns a group that DDP, FSDP2, DTensor, DeviceMesh,
`torch.distributed.pipelining` and plain collectives all run on. `dist.get_backend()` then returns the underlying
backend, "gloo", or "nccl" where there are GPUs, and groups created with that name are recorded too.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import torch.distributed as dist

from lab_utils.comm.process_group import connections, interruptible_wait
from lab_utils.comm.process_group.backends import BACKEND, carriers
from lab_utils.comm.process_group.calls_from_cpp import never_compiled
from lab_utils.comm.process_group.group import RecordedGroup
from lab_utils.comm.process_group.membership import Groups, abort_rendezvous, labels
from lab_utils.comm.recorder.pending_op import PendingOp
from lab_utils.comm.recorder.recorder import recorder
from lab_utils.comm.status.rank_state import Stream

WORLD = "world"
_c10d = dist.distributed_c10d
_world = _c10d._world  # c10d has no public list of a process's groups
_at: _Place | None = None
_forming_world = False
_left_because = "this group was left after a failure: the next call of ranks.run forms it again"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the groups were last formed. Ranks find each other through the store's file; epoch counts the stores."""

    path: str
    epoch: int
    store: dist.Store


def register_backend() -> None:
    """Register BACKEND with torch.distributed; a second call does nothing."""
    if not hasattr(dist.Backend, BACKEND.upper()):
        dist.Backend.register_backend(BACKEND, _create, extended_api=True, devices=["cpu", "cuda"])
        _c10d._new_process_group_helper = _recorded(_c10d._new_process_group_helper)
        never_compiled(sys.modules[__name__])


def _recorded(form: Callable) -> Callable:
    """Wrap c10d's function that forms a group: groups are recorded, and registered under the underlying backend's name.

    Programs and torch check that name: `monitored_barrier` requires gloo, DDP with ZeRO rejects it.
    """

    def form_recorded(size, rank, ranks, backend, *args, **kwargs):
        names = list(carriers().values())
        in_our_world = ranks and type(dist.group.WORLD) is RecordedGroup  # not wrapped by `record`
        if backend != BACKEND and not (in_our_world and backend in names):
            return form(size, rank, ranks, backend, *args, **kwargs)
        made, store = form(size, rank, ranks, dist.Backend(BACKEND), *args, **kwargs)
        if isinstance(made, RecordedGroup):  # this rank is a member
            name = dist.Backend(names[-1] if backend == BACKEND else backend)
            _world.pg_map[made], _world.pg_backend_config[made] = (name, store), str(_c10d.BackendConfig(name))
        return made, store

    return form_recorded


def _create(options: dist.distributed_c10d._DistributedBackendOptions, _backend_options=None) -> RecordedGroup:
    ranks = tuple(options.global_ranks_in_group or range(options.group_size))
    group = RecordedGroup(options.group_rank, ranks, _timeout(options.timeout))
    with _shown(ranks):
        group.connect(_world_store() if _forming_world else options.store)
    return group


def _timeout(asked: timedelta) -> timedelta:
    """Return the world's timeout where none was passed: c10d's default of 30 minutes is too long to wait for a rank."""
    defaults = dist.constants.default_pg_timeout, dist.constants.default_pg_nccl_timeout
    unasked = asked in defaults and not _forming_world
    return dist.group.WORLD._timeout if unasked and isinstance(dist.group.WORLD, RecordedGroup) else asked


@contextlib.contextmanager
def _shown(ranks: tuple[int, ...]):
    """Show on the board that this rank waits for the group's other members to create it too."""
    stream = Stream("form", f"group {','.join(map(str, ranks))}")
    entry = PendingOp(
        "form", "new_group", stream.group, ranks, channel=recorder.ledger.channel(stream), asynchronous=False
    )
    entry.seq = entry.channel.next()
    recorder.come_to(entry)
    yield
    recorder.show("computing")


def leave() -> Groups:
    """Abort all waits and release all backends without waiting for other ranks; return the groups to form again."""
    abort_waits()
    forget_coalescing()
    if dist.is_initialized() and not isinstance(dist.group.WORLD, RecordedGroup):
        dist.destroy_process_group()  # the user formed another in its place
    groups = _groups()
    for group in groups.values():
        group.disconnect(_left_because)
    connections.calm_later()
    return Groups({label: group._ranks for label, group in groups.items()}, dict(labels), _world.group_count)


def _groups() -> dict[str, RecordedGroup]:
    return {group.label: group for group in _world.pg_map if isinstance(group, RecordedGroup) and not group.lost}


def form(path: str, epoch: int, agreed: Groups, timeout_s: float) -> None:
    """Connect all agreed groups through a fresh store at `path`, the world first, keeping the same group objects."""
    global _at
    store = dist.FileStore(path, recorder.ranks)
    _at = _Place(path, epoch, store)
    recorder.begin_groups(epoch)
    interruptible_wait.may_be_aborted = True
    dict.update(labels, agreed.counts)
    with connections.remembered():
        _form_world(timedelta(seconds=timeout_s))
        _world.group_count = max(_world.group_count, agreed.created)
        own = _groups()
        for label in agreed.members:
            if label in own and label != WORLD:
                own[label].connect(dist.PrefixStore(f"{label}/", store))
    for label in own.keys() - agreed.members.keys() - {WORLD}:
        own[label].lose(f"{label} was lost when a rank was replaced: make it again on all ranks")


def _form_world(timeout: timedelta) -> None:
    global _forming_world
    if dist.is_initialized():
        dist.group.WORLD.connect(_world_store())
    else:
        labels.pop(WORLD, None)
        _forming_world = True
        try:
            dist.init_process_group(
                BACKEND, store=_at.store, rank=recorder.rank, world_size=recorder.ranks, timeout=timeout
            )
        finally:
            _forming_world = False
    # new_group takes the store for later groups from here.
    _world.pg_map[dist.group.WORLD] = dist.get_backend(), dist.PrefixStore("later/", _at.store)


def _world_store() -> dist.Store:
    return dist.PrefixStore(f"{WORLD}/", _at.store)


def epoch_of_groups() -> int | None:
    """Return how often the lab formed this process's groups, equal on all ranks; None where it did not."""
    return None if _at is None else _at.epoch


def abort_waits(epoch: int | None = None) -> None:
    """End every wait for other ranks, from any thread: shut the connections down and make the store unreadable.

    epoch   only if the groups are still those formed on the store of this epoch
    """
    if _at is not None and epoch in (None, _at.epoch):
        connections.shut_down()
        interruptible_wait.abort_waits()
        abort_rendezvous(_at.path)


def forget_coalescing() -> list[str]:
    """Close coalescing managers that an exception left open; return the labels of their groups.

    torch 2.13 does not close them: it would queue every later all_reduce on such a group and run none of them.
    """
    left = _world.pg_coalesce_state
    groups = [group for group in left if isinstance(group, RecordedGroup)]
    left.clear()
    for group in groups:
        group._coalesced = None
    return [group.label for group in groups]
