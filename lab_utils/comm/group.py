"""The recorded process group: a c10d backend that hands every op to gloo (nccl on CUDA tensors) and records it.

`register_backend()` makes the name BACKEND known to torch.distributed; afterwards
`dist.init_process_group(BACKEND, ...)` gives a group through which DDP, FSDP2, DTensor, DeviceMesh,
`torch.distributed.pipelining` and plain collectives all run.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import count

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import ProcessGroup, Work

from lab_utils.comm import sockets
from lab_utils.comm.c10d_calls import COLLECTIVES, given_tensors, is_asynchronous
from lab_utils.comm.entry import Entry
from lab_utils.comm.recorder import recorder
from lab_utils.comm.work import JoinedWork, RecordedWork

BACKEND = "lab"
Start = Callable[[], Work]  # hands an op to the backend

_labels: Counter = Counter()


def register_backend() -> None:
    """Make BACKEND known to torch.distributed; does nothing the second time."""
    if not hasattr(dist.Backend, BACKEND.upper()):
        dist.Backend.register_backend(BACKEND, _create, extended_api=True, devices=["cpu", "cuda"])


def _create(options: dist.distributed_c10d._DistributedBackendOptions, _backend_options=None) -> RecordedGroup:
    ranks = options.global_ranks_in_group or range(options.group_size)
    inner = ProcessGroup(options.store, options.group_rank, options.group_size)
    backends = {"cpu": (ProcessGroup.BackendType.GLOO, dist.ProcessGroupGloo)}
    if torch.cuda.is_available() and dist.is_nccl_available():
        backends["cuda"] = (ProcessGroup.BackendType.NCCL, dist.ProcessGroupNCCL)  # connects at its first op
    for device, (kind, backend) in backends.items():
        store = dist.PrefixStore(f"{device}/", options.store)
        with sockets.remembered():
            made = backend(store, options.group_rank, options.group_size, timeout=options.timeout)
        made._set_sequence_number_for_group()
        inner._register_backend(torch.device(device), kind, made)
    inner._set_default_backend(backends["cuda" if "cuda" in backends else "cpu"][0])
    return RecordedGroup(inner, tuple(ranks))


def forget_groups() -> None:
    """Start the numbering of group names again: called when a rank forms a new world."""
    _labels.clear()


def forget_coalescing() -> list[str]:
    """Close coalescing managers that an exception left open; returns the labels of their groups.

    torch 2.13 closes none itself: until then it queues every all_reduce on such a group, and runs none of them.
    """
    left = dist.distributed_c10d._world.pg_coalesce_state
    groups = [group for group in left if isinstance(group, RecordedGroup)]
    left.clear()
    for group in groups:
        group._coalesced = None
    return [group.label for group in groups]


class RecordedGroup(ProcessGroup):
    """Looks like a process group, records each op, and lets `inner` do it."""

    def __init__(self, inner: ProcessGroup, ranks: tuple[int, ...]):
        super().__init__(inner.rank(), inner.size())
        self._inner, self._ranks = inner, ranks
        self._name, self._desc, self._label = "", "", None
        self._numbers: defaultdict[object, Iterator[int]] = defaultdict(count)  # counted alike on every member
        self._coalesced: list[Work] | None = None

    # ------------------------------------------------------------------ identity
    @property
    def label(self) -> str:
        """Name in traces: "world", or description and members. Equal on every member, since all create alike."""
        if self._label is None:
            members = ",".join(map(str, self._ranks))
            described = self._desc if self._desc not in ("", "undefined") else "group"
            base = "world" if self._desc == "default_pg" else f"{described} {members}"
            _labels[base] += 1
            self._label = base if _labels[base] == 1 else f"{base} ({_labels[base]})"
        return self._label

    def getBackendName(self) -> str:  # noqa: N802 - the names that c10d calls
        return BACKEND

    def getGroupName(self) -> str:  # noqa: N802
        return self._name

    def setGroupName(self, name: str) -> None:  # noqa: N802
        self._name = name
        self._inner._set_group_name(name)

    def getGroupDesc(self) -> str:  # noqa: N802
        return self._desc

    def setGroupDesc(self, desc: str) -> None:  # noqa: N802
        self._desc = desc
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
        return self._message("send", tensors, dst, tag, lambda: self._inner.send(tensors, dst, tag))

    def recv(self, tensors: list[torch.Tensor], src: int, tag: int) -> Work:
        return self._message("recv", tensors, src, tag, lambda: self._inner.recv(tensors, src, tag))

    def recv_anysource(self, tensors: list[torch.Tensor], tag: int) -> Work:
        entry = self._entry("recv", "recv", tensors)
        entry.tag = tag
        return self._forward(entry, lambda: self._inner.recv_anysource(tensors, tag), self._found_source)

    def _found_source(self, work: Work, entry: Entry) -> None:
        self._name_peer(entry, work._source_rank())

    def _message(self, kind: str, tensors: list[torch.Tensor], peer: int, tag: int, start: Start) -> Work:
        entry = self._entry(kind, kind, tensors)
        entry.tag = tag
        self._name_peer(entry, peer)
        return self._forward(entry, start)

    def _name_peer(self, entry: Entry, peer: int) -> None:
        entry.seq, entry.peer = next(self._numbers[entry.kind, peer, entry.tag]), self._ranks[peer]

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
    def monitored_barrier(self, *args, **kwargs) -> None:
        """Call this method: `dist.monitored_barrier` refuses every backend that is not called gloo."""
        entry = self._entry("collective", "barrier", [], asynchronous=False)
        entry.seq = next(self._numbers["collective"])
        recorder.issue(entry)
        recorder.wait_begins(entry)
        self._inner._get_backend(torch.device("cpu")).monitored_barrier(*args, **kwargs)
        recorder.wait_ends(entry, None)

    def abort(self) -> None:
        self._inner.abort()

    def shutdown(self) -> None:
        self._inner.shutdown()

    # ------------------------------------------------------------------ recording
    def _entry(self, kind: str, name: str, tensors: list[torch.Tensor], asynchronous: bool = True) -> Entry:
        shape = " ".join([_shape(tensor.shape) for tensor in tensors[:3]]) + (" ..." if len(tensors) > 3 else "")
        size_bytes = sum([tensor.numel() * tensor.element_size() for tensor in tensors])
        entry = Entry(kind, name, self.label, self._ranks, 0, size_bytes, shape)
        entry.asynchronous = asynchronous or self._coalesced is not None  # several are waited for together later
        entry.on_device = bool(tensors) and tensors[0].is_cuda
        return entry

    def _forward(self, entry: Entry, start: Start, on_done=None) -> Work:
        recorder.issue(entry)
        inner = start()
        recorder.issued(entry, inner)
        work = RecordedWork(inner, entry, on_done)
        if self._coalesced is not None:
            self._coalesced.append(work)
        return work


@lru_cache(maxsize=4096)
def _shape(shape: torch.Size) -> str:
    return str(list(shape))


def _collective(method: str, name: str):
    def collective(self: RecordedGroup, *args, **kwargs) -> Work:
        passed = (*args, *kwargs.values())
        entry = self._entry("collective", name, given_tensors(method, passed), is_asynchronous(passed))
        entry.seq = next(self._numbers["collective"])
        return self._forward(entry, lambda: getattr(self._inner, method)(*args, **kwargs))

    collective.__name__ = method
    return collective


for _method, _name in COLLECTIVES.items():
    setattr(RecordedGroup, _method, _collective(_method, _name))
