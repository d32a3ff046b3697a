"""A group's answers about itself: those of the group that carries it, and those a gloo group would give."""

from __future__ import annotations

from datetime import timedelta

import torch
from torch._C._distributed_c10d import ProcessGroup

from lab_utils.comm.process_group.membership import Lost, labels

_ASKED_OF_INNER = (
    "_get_backend", "_backend_id", "get_group_store", "_has_hooks", "_enable_collectives_timing",
    "_wait_for_pending_works", "_register_on_completion_hook", "_get_sequence_number_for_group",
    "_set_sequence_number_for_group", "split_group", "merge_remote_group",
)  # fmt: skip
_TYPES = {name.lower(): kind for name, kind in ProcessGroup.BackendType.__members__.items()}


class Answers(ProcessGroup):
    """A group carried by another, `inner`; by none when `inner` is `Lost`."""

    def __init__(self, rank: int, ranks: tuple[int, ...], timeout: timedelta):
        super().__init__(rank, len(ranks))
        self._ranks, self._timeout = ranks, timeout
        self._inner: ProcessGroup | Lost = Lost("this group is not connected yet")
        self._name, self._desc, self._label = "", "", None
        self._backend_name = "undefined"
        self._known_to_cpp: ProcessGroup | None = None

    def carry(self, inner: ProcessGroup) -> None:
        """Set `inner` as the group that carries this one.

        C++ asks the group itself for its backends (DDP's logger does), and keeps the first one it gets.
        """
        self._inner, self._backend_name = inner, inner.name()
        self._known_to_cpp = self._known_to_cpp or inner
        self.bound_device_id = inner.bound_device_id
        for device in inner._device_types:
            backend = inner._get_backend(device)
            self._register_backend(device, _TYPES.get(backend.name(), ProcessGroup.CUSTOM), backend)
        self._set_default_backend(_TYPES.get(self._backend_name, ProcessGroup.CUSTOM))

    @property
    def connected(self) -> bool:
        return not isinstance(self._inner, Lost)

    @property
    def label(self) -> str:
        """Name in traces: "world", or description and members. Equal on every member, since all create groups alike."""
        if self._label is None:
            members = ",".join(map(str, self._ranks))
            described = self._desc if self._desc not in ("", "undefined") else "group"
            base = "world" if self._desc == "default_pg" else f"{described} {members}"
            labels[base] += 1
            self._label = base if labels[base] == 1 else f"{base} ({labels[base]})"
        return self._label

    def getBackendName(self) -> str:  # noqa: N802 - the names that c10d calls
        return self._backend_name

    name = _get_backend_name = getBackendName

    def getGroupName(self) -> str:  # noqa: N802
        return self._name

    def setGroupName(self, name: str) -> None:  # noqa: N802
        self._name = name
        if self.connected:
            self._inner._set_group_name(name)

    def getGroupDesc(self) -> str:  # noqa: N802
        return self._desc

    def setGroupDesc(self, desc: str) -> None:  # noqa: N802
        self._desc = desc
        if self.connected:
            self._inner._set_group_desc(desc)
        _ = self.label  # computed now, so that numbers follow the order of creation

    _set_group_name, _set_group_desc = setGroupName, setGroupDesc
    group_name = property(getGroupName)
    group_desc = property(getGroupDesc)

    def boxed(self) -> torch.ScriptObject:
        """Box the group for ops that C++ dispatches to the backend itself: it knows only the first backend it got."""
        return super().boxed() if self._inner is self._known_to_cpp else self._inner.boxed()

    @property
    def _device_types(self) -> list[torch.device]:
        return self._inner._device_types

    def set_timeout(self, timeout: timedelta) -> None:
        self._timeout = timeout
        self._inner.set_timeout(timeout)

    def shutdown(self) -> None:
        if self.connected:  # destroy_process_group() calls this on all groups
            self._inner.shutdown()

    def abort(self) -> None:
        if self.connected:
            self._inner.abort()


def _asked_of_inner(name: str):
    def ask(self: Answers, *args, **kwargs):
        return getattr(self._inner, name)(*args, **kwargs)

    return ask


for _name in _ASKED_OF_INNER:
    setattr(Answers, _name, _asked_of_inner(_name))
