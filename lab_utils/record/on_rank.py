"""Wraps the groups that c10d forms on a rank of a recorded program, and records their ops.

The program gets the backend that it asks for (gloo, nccl or another): c10d makes that group, and a recorded group
takes its place and forwards every op to it. `dist.get_backend()` and all options are as the program asked.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

import torch.distributed as dist

from lab_utils.comm.process_group.backends import BACKEND
from lab_utils.comm.process_group.calls_from_cpp import never_compiled
from lab_utils.comm.process_group.group import RecordedGroup
from lab_utils.comm.process_group.membership import labels
from lab_utils.comm.recorder.live_memory import tensors
from lab_utils.comm.recorder.recorder import recorder
from lab_utils.record import on_rank_session
from lab_utils.record.files import COUNT, FOLDER, note

_ONE_PROCESS = ("fake", "threaded")  # backends in which one process plays the ranks: no communication


class WrappedGroup(RecordedGroup):
    """Takes the place of a group that c10d has made, and records its ops."""

    def __init__(self, made: dist.ProcessGroup, ranks: Sequence[int], is_world: bool):
        super().__init__(made.rank(), tuple(ranks), dist.distributed_c10d.default_pg_timeout)
        self._is_world = is_world
        self.carry(made)
        self.setGroupName(made.group_name)
        self.setGroupDesc(made.group_desc)

    def shutdown(self) -> None:
        """Shut down, from `destroy_process_group`; the world's group ends the recording."""
        if self._is_world:
            on_rank_session.end()
        super().shutdown()


def forming(c10d: ModuleType, form: Callable) -> Callable:
    """Return c10d's function that forms a group, wrapped so that the groups are recorded."""
    register = c10d._register_pg_in_world

    def form_recorded(size, rank, ranks, backend, *args, **kwargs):
        if backend == BACKEND:
            note(os.environ[FOLDER], "it is a rank of the lab, whose own groups record: call ranks.record(function)")
            if c10d._new_process_group_helper is form_recorded:
                c10d._new_process_group_helper = form
        if backend in (*_ONE_PROCESS, BACKEND):
            return form(size, rank, ranks, backend, *args, **kwargs)
        wrapped: dict[dist.ProcessGroup, WrappedGroup] = {}

        def register_wrapped(made: dist.ProcessGroup, **about) -> None:
            if not ranks:
                _attach(made.rank(), made.size())
            wrapped[made] = WrappedGroup(made, ranks or range(made.size()), is_world=not ranks)
            register(wrapped[made], **about)

        c10d._register_pg_in_world = register_wrapped
        try:
            made, store = form(size, rank, ranks, backend, *args, **kwargs)
        finally:
            c10d._register_pg_in_world = register
        if wrapped and not ranks:
            on_rank_session.begin(made.rank(), made.size(), os.environ[FOLDER], os.environ.get(COUNT) == "1")
        return wrapped.get(made, made), store

    return form_recorded


def before_fork() -> None:
    """Find the process's tensors for those that it forks, each of which would go through all objects for itself.

    A rank's own processes are workers as a rule, and do not record.
    """
    if os.environ.get(COUNT) == "1" and not on_rank_session.is_on():
        tensors.find()


def _attach(rank: int, ranks: int) -> None:
    """Attach the recorder to a new world, whose groups and ops are numbered from 0."""
    labels.clear()
    recorder.attach(rank, ranks, board=None)
    recorder.begin_groups(0)


never_compiled(sys.modules[__name__], on_rank_session)
