"""The recorded process group: a c10d group that hands every op to gloo (nccl on CUDA tensors) and records it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache, partial

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import ProcessGroup, Work

from lab_utils.comm import sockets, waiting
from lab_utils.comm.backends import BACKEND, MAKERS, carriers
from lab_utils.comm.c10d_calls import COLLECTIVES, elements, given_tensors, is_asynchronous, what_is_compared
from lab_utils.comm.entry import Entry
from lab_utils.comm.groups import Lost, labels
from lab_utils.comm.ledger import Channel
from lab_utils.comm.op_names import told
from lab_utils.comm.recorder import recorder
from lab_utils.comm.retired import retire
from lab_utils.comm.standing import ANY_SOURCE, Stream
from lab_utils.comm.work import JoinedWork, RecordedMessage, RecordedWork

Start = Callable[[], Work]  # hands an op to the backend


class RecordedGroup(ProcessGroup):
    """Looks like a process group, records each op, and lets `inner` do it."""

    def __init__(self, rank: int, ranks: tuple[int, ...], timeout: timedelta):
        super().__init__(rank, len(ranks))
        self._ranks, self._timeout = ranks, timeout
        self._inner: ProcessGroup | Lost = Lost("this group is not connected yet")
        self._name, self._desc, self._label = "", "", None
        self._coalesced: list[Work] | None = None
        self._channels: dict[tuple, Channel] = {}
        self.lost = False

    def connect(self, store: dist.Store) -> None:
        """Make connections to all members, through a store that no group has used before."""
        inner = ProcessGroup(store, self.rank(), self.size())
        for device, name in carriers().items():
            kind, backend = MAKERS[name]
            with sockets.remembered():
                made = backend(dist.PrefixStore(f"{device}/", store), self.rank(), self.size(), timeout=self._timeout)
            made._set_sequence_number_for_group()
            inner._register_backend(torch.device(device), kind, made)
            inner._set_default_backend(kind)  # that of the last one stays
        inner._set_group_name(self._name)
        inner._set_group_desc(self._desc)
        self._inner, self._coalesced = inner, None
        self._channels.clear()  # the ledger begins anew too

    def disconnect(self, why: str) -> None:
        """Let go of the backend; ops then raise RuntimeError with `why` until the group is connected again."""
        if self.connected:
            retire(self._inner, self._timeout.total_seconds())
        self._inner = Lost(why)

    def lose(self, why: str) -> None:
        """`disconnect` for good: not all members have it any more."""
        self.disconnect(why)
        self.lost = True

    @property
    def connected(self) -> bool:
        return not isinstance(self._inner, Lost)

    # ------------------------------------------------------------------ identity
    @property
    def label(self) -> str:
        """Name in traces: "world", or description and members. Equal on every member, since all create alike."""
        if self._label is None:
            members = ",".join(map(str, self._ranks))
            described = self._desc if self._desc not in ("", "undefined") else "group"
            base = "world" if self._desc == "default_pg" else f"{described} {members}"
            labels[base] += 1
            self._label = base if labels[base] == 1 else f"{base} ({labels[base]})"
        return self._label

    def getBackendName(self) -> str:  # noqa: N802 - the names that c10d calls
        return BACKEND  # DDP's logger, in C++, would ask a group that is called gloo for a backend of its own

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
        _ = self.label  # numbered now, in the order of creation

    _set_group_name, _set_group_desc = setGroupName, setGroupDesc
    group_name = property(getGroupName)
    group_desc = property(getGroupDesc)

    @property
    def _device_types(self) -> list[torch.device]:
        """With none here c10d would not find the CPU for objects and barriers, nor the backends for a time-out."""
        return self._inner._device_types

    def _get_backend(self, device: torch.device) -> dist.Backend:
        return self._inner._get_backend(device)

    # ------------------------------------------------------------------ point to point
    def send(self, tensors: list[torch.Tensor], dst: int, tag: int) -> Work:
        peers = self._ranks[self.rank()], self._ranks[dst]
        return self._forward(self._message("send", tensors, peers, tag), lambda: self._inner.send(tensors, dst, tag))

    def recv(self, tensors: list[torch.Tensor], src: int, tag: int) -> Work:
        peers = self._ranks[src], self._ranks[self.rank()]
        return self._forward(self._message("recv", tensors, peers, tag), lambda: self._inner.recv(tensors, src, tag))

    def recv_anysource(self, tensors: list[torch.Tensor], tag: int) -> Work:
        entry = self._message("recv", tensors, (ANY_SOURCE, self._ranks[self.rank()]), tag)
        return self._forward(entry, lambda: self._inner.recv_anysource(tensors, tag), self._found_source)

    def _found_source(self, work: Work, entry: Entry) -> None:
        self._number_message(entry, (self._ranks[work._source_rank()], self._ranks[self.rank()]))

    def _message(self, kind: str, tensors: list[torch.Tensor], peers: tuple[int, int], tag: int) -> Entry:
        entry = self._entry(kind, kind, tensors)
        entry.tag = tag
        self._number_message(entry, peers)
        return entry

    def _number_message(self, entry: Entry, peers: tuple[int, int]) -> None:
        entry.channel = self._channel("message", entry.kind, peers, entry.tag)
        entry.seq = entry.channel.next()
        entry.peer = None if ANY_SOURCE in peers else peers[entry.kind == "send"]

    # ------------------------------------------------------------------ coalescing
    def _start_coalescing(self, device: torch.device) -> None:
        self._coalesced = []

    def _end_coalescing(self, device: torch.device) -> Work:
        works, self._coalesced = self._coalesced or [], None
        return JoinedWork(works)

    def all_gather_single_coalesced(self, outputs, inputs, opts) -> Work:
        return self._each(self.all_gather_single, outputs, inputs, opts)

    def reduce_scatter_single_coalesced(self, outputs, inputs, opts) -> Work:
        return self._each(self.reduce_scatter_single, outputs, inputs, opts)

    allgather_into_tensor_coalesced = all_gather_single_coalesced
    reduce_scatter_tensor_coalesced = reduce_scatter_single_coalesced

    def _each(self, collective: Callable[..., Work], outputs, inputs, opts) -> Work:
        """Gloo has these for one tensor only: one op for each, waited for as one."""
        around, self._coalesced = self._coalesced, []
        for output, given in zip(outputs, inputs, strict=True):
            collective(output, given, opts)
        works, self._coalesced = self._coalesced, around
        if around is not None:  # inside a manager, which hands back one work for all of its ops
            around.extend(works)
        return JoinedWork(works)

    # ------------------------------------------------------------------ not an op with a work
    def monitored_barrier(self, timeout: timedelta | None = None, wait_all_ranks: bool = False) -> None:
        """RuntimeError when a rank does not come in time: on the group's first rank it names which."""
        timeout = self._timeout if timeout in (None, dist.constants.default_pg_timeout) else timeout
        entry = self._collective_entry("barrier", [], asynchronous=False)
        recorder.issue(entry)
        recorder.wait_begins(entry)
        try:
            gloo = self._inner._get_backend(torch.device("cpu"))
            waiting.wait_in_a_thread(partial(gloo.monitored_barrier, timeout, wait_all_ranks))
        except RuntimeError as error:
            recorder.failed(error)
            raise
        recorder.wait_ends(entry, None)

    def abort(self) -> None:
        if self.connected:
            self._inner.abort()

    def shutdown(self) -> None:
        if self.connected:  # destroy_process_group() ends what there is of all groups
            self._inner.shutdown()

    # ------------------------------------------------------------------ recording
    def _entry(self, kind: str, name: str, tensors: list[torch.Tensor], asynchronous: bool = True) -> Entry:
        if len(tensors) == 1:  # nearly always
            tensor = tensors[0]
            count, shape = tensor.numel(), _shape(tensor.shape)
            size_bytes = count * tensor.element_size()
        else:
            count = sum([tensor.numel() for tensor in tensors])
            shape = " ".join([_shape(tensor.shape) for tensor in tensors[:3]]) + (" ..." if len(tensors) > 3 else "")
            size_bytes = sum([tensor.numel() * tensor.element_size() for tensor in tensors])
        entry = Entry(kind, name, self.label, self._ranks, 0, size_bytes, shape)
        entry.signature = elements(tensors[0].dtype, count) if tensors else ""
        entry.asynchronous = asynchronous or self._coalesced is not None  # several are waited for together later
        entry.on_device = bool(tensors) and tensors[0].is_cuda
        return entry

    def _collective_entry(self, name: str, tensors: list[torch.Tensor], asynchronous: bool) -> Entry:
        entry = self._entry("collective", name, tensors, asynchronous)
        entry.channel = self._channel("collective")
        entry.seq = entry.channel.next()
        return entry

    def _channel(self, kind: str, side: str = "", peers: tuple[int, ...] = (), tag: int = 0) -> Channel:
        known = self._channels.get((kind, side, peers, tag))
        if known is None:
            known = recorder.ledger.channel(Stream(kind, self.label, peers, tag), side)
            self._channels[kind, side, peers, tag] = known
        return known

    def _forward(self, entry: Entry, start: Start, on_done=None) -> Work:
        recorder.issue(entry)
        inner = recorder.start(start)
        recorder.issued(entry, inner)
        work = (RecordedWork if entry.kind == "collective" else RecordedMessage)(inner, entry, on_done)
        if self._coalesced is not None:
            self._coalesced.append(work)
        return work


@lru_cache(maxsize=4096)
def _shape(shape: torch.Size) -> str:
    return str(list(shape))


def _collective(method: str, name: str):
    def collective(self: RecordedGroup, *args, **kwargs) -> Work:
        passed = (*args, *kwargs.values())
        entry = self._collective_entry(*told(name, given_tensors(method, passed)), is_asynchronous(passed))
        entry.signature = what_is_compared(method, passed, self._ranks, entry.signature)
        return self._forward(entry, lambda: getattr(self._inner, method)(*args, **kwargs))

    collective.__name__ = method
    return collective


for _method, _name in COLLECTIVES.items():
    setattr(RecordedGroup, _method, _collective(_method, _name))
