"""The recorded process group: a c10d backend that hands every op to gloo (nccl on CUDA tensors) and records it.

`register_backend()` makes the name BACKEND known to torch.distributed; afterwards
`dist.init_process_group(BACKEND, ...)` gives a group through which DDP, FSDP2, DTensor, DeviceMesh,
`torch.distributed.pipelining` and plain collectives all run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import ProcessGroup, Work

from lab_utils.comm import sockets
from lab_utils.comm.recorder import Entry, Sequence, recorder
from lab_utils.comm.work import JoinedWork, RecordedWork

BACKEND = "lab"

# c10d's method → the name the user called. Methods missing here are not on the wire and go straight through.
COLLECTIVES = {
    "allreduce": "all_reduce",
    "allreduce_coalesced": "all_reduce",
    "broadcast": "broadcast",
    "reduce": "reduce",
    "allgather": "all_gather",
    "_allgather_base": "all_gather",
    "all_gather_single": "all_gather",
    "allgather_coalesced": "all_gather",
    "gather": "gather",
    "scatter": "scatter",
    "reduce_scatter": "reduce_scatter",
    "_reduce_scatter_base": "reduce_scatter",
    "reduce_scatter_single": "reduce_scatter",
    "alltoall": "all_to_all",
    "alltoall_base": "all_to_all",
    "all_to_all_single": "all_to_all",
    "barrier": "barrier",
}
# For these the first argument is what the rank receives and the second what it gives.
_INPUT_SECOND = {
    "allgather", "_allgather_base", "all_gather_single", "allgather_coalesced", "gather", "scatter",
    "reduce_scatter", "_reduce_scatter_base", "reduce_scatter_single", "alltoall", "alltoall_base",
    "all_to_all_single",
}  # fmt: skip
_labels: Counter = Counter()


def register_backend() -> None:
    """Make BACKEND known to torch.distributed; does nothing the second time."""
    if not hasattr(dist.Backend, BACKEND.upper()):
        dist.Backend.register_backend(BACKEND, _create, extended_api=True, devices=["cpu", "cuda"])


def _create(options: dist.distributed_c10d._DistributedBackendOptions, _backend_options=None) -> RecordedGroup:
    inner = ProcessGroup(options.store, options.group_rank, options.group_size)
    backends = {"cpu": (ProcessGroup.BackendType.GLOO, dist.ProcessGroupGloo)}
    if torch.cuda.is_available() and dist.is_nccl_available():
        backends["cuda"] = (ProcessGroup.BackendType.NCCL, dist.ProcessGroupNCCL)
    for device, (kind, backend) in backends.items():
        store = dist.PrefixStore(f"{device}/", options.store)
        with sockets.remembered():
            made = backend(store, options.group_rank, options.group_size, timeout=options.timeout)
        made._set_sequence_number_for_group()
        inner._register_backend(torch.device(device), kind, made)
    inner._set_default_backend(backends["cuda" if "cuda" in backends else "cpu"][0])
    ranks = options.global_ranks_in_group or range(options.group_size)
    return RecordedGroup(inner, tuple(ranks))


def forget_groups() -> None:
    """Start the numbering of group names again: called when a rank forms a new world."""
    _labels.clear()


class RecordedGroup(ProcessGroup):
    """Looks like a process group, records each op, and lets `inner` do it."""

    def __init__(self, inner: ProcessGroup, ranks: tuple[int, ...]):
        super().__init__(inner.rank(), inner.size())
        self._inner, self._ranks = inner, ranks
        self._name, self._desc, self._label = "", "", None
        self._sequence = Sequence()
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

    # ------------------------------------------------------------------ point to point
    def send(self, tensors: list[torch.Tensor], dst: int, tag: int) -> Work:
        return self._message("send", tensors, dst, tag, lambda: self._inner.send(tensors, dst, tag))

    def recv(self, tensors: list[torch.Tensor], src: int, tag: int) -> Work:
        return self._message("recv", tensors, src, tag, lambda: self._inner.recv(tensors, src, tag))

    def recv_anysource(self, tensors: list[torch.Tensor], tag: int) -> Work:
        return self._message("recv", tensors, None, tag, lambda: self._inner.recv_anysource(tensors, tag))

    def _message(self, kind: str, tensors: list[torch.Tensor], peer: int | None, tag: int, start) -> Work:
        sequence = self._sequence.take((kind, peer, tag))
        entry = self._entry(kind, kind, sequence, tensors)
        entry.peer, entry.tag = None if peer is None else self._ranks[peer], tag
        return self._forward(entry, start)

    # ------------------------------------------------------------------ coalescing
    def _start_coalescing(self, device: torch.device) -> None:
        self._coalesced = []

    def _end_coalescing(self, device: torch.device) -> Work:
        works, self._coalesced = self._coalesced or [], None
        return JoinedWork(works)

    def all_gather_single_coalesced(self, outputs, inputs, opts) -> Work:
        pairs = zip(outputs, inputs, strict=True)
        return JoinedWork([self.all_gather_single(output, input, opts) for output, input in pairs])

    def reduce_scatter_single_coalesced(self, outputs, inputs, opts) -> Work:
        pairs = zip(outputs, inputs, strict=True)
        return JoinedWork([self.reduce_scatter_single(output, input, opts) for output, input in pairs])

    allgather_into_tensor_coalesced = all_gather_single_coalesced
    reduce_scatter_tensor_coalesced = reduce_scatter_single_coalesced

    # ------------------------------------------------------------------ not on the wire, or not an op with a work
    def monitored_barrier(self, *args, **kwargs) -> None:
        self._inner._get_backend(torch.device("cpu")).monitored_barrier(*args, **kwargs)

    def abort(self) -> None:
        self._inner.abort()

    def shutdown(self) -> None:
        self._inner.shutdown()

    # ------------------------------------------------------------------ recording
    def _entry(self, kind: str, name: str, sequence: int, tensors: Iterable[torch.Tensor]) -> Entry:
        tensors = list(tensors)
        shape = " ".join(str(list(tensor.shape)) for tensor in tensors[:3]) + (" …" if len(tensors) > 3 else "")
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return Entry(kind, name, self.label, self._ranks, sequence, size, shape)

    def _forward(self, entry: Entry, start) -> Work:
        recorder.issue(entry)
        work = RecordedWork(start(), entry)
        recorder.issued(entry, work._inner)
        if self._coalesced is not None:
            self._coalesced.append(work)
        return work


def _collective(method: str, name: str):
    def collective(self: RecordedGroup, *args, **kwargs) -> Work:
        given = args[1] if method in _INPUT_SECOND else args[0] if args else []
        entry = self._entry("collective", name, self._sequence.take("collective"), _flat(given))
        return self._forward(entry, lambda: getattr(self._inner, method)(*args, **kwargs))

    collective.__name__ = method
    return collective


def _flat(given) -> Iterable[torch.Tensor]:
    """The tensors in what c10d passes: one tensor, a list, or a list of lists."""
    if isinstance(given, torch.Tensor):
        yield given
    elif isinstance(given, (list, tuple)):
        for part in given:
            yield from _flat(part)


for _method, _name in COLLECTIVES.items():
    setattr(RecordedGroup, _method, _collective(_method, _name))
