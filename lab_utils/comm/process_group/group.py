"""The recorded process group: a c10d group that forwards each op to gloo (nccl for CUDA tensors) and records it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache, partial

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import ProcessGroup, Work

from lab_utils.comm.process_group import connections, interruptible_wait
from lab_utils.comm.process_group.backends import MAKERS, carriers
from lab_utils.comm.process_group.c10d_calls import (
    COLLECTIVES,
    ROOTED,
    Called,
    elements,
    given_tensors,
    meant,
    what_is_compared,
)
from lab_utils.comm.process_group.calls_from_cpp import made, never_compiled, read_by_pybind, stand_before_ops
from lab_utils.comm.process_group.group_attributes import Answers
from lab_utils.comm.process_group.membership import Lost
from lab_utils.comm.process_group.work import JoinedWork, RecordedMessage, RecordedWork
from lab_utils.comm.recorder.bytes_and_flops import tensor_bytes
from lab_utils.comm.recorder.pending_op import PendingOp
from lab_utils.comm.recorder.recorder import recorder
from lab_utils.comm.status.rank_state import ANY_SOURCE, Channel, Stream

Start = Callable[[], Work]  # hands an op to the backend


class RecordedGroup(Answers):
    """A process group that records each op and forwards it to `inner`."""

    def __init__(self, rank: int, ranks: tuple[int, ...], timeout: timedelta):
        super().__init__(rank, ranks, timeout)
        self._coalesced: list[Work] | None = None
        self._channels: dict[tuple, Channel] = {}
        self.lost = False

    def connect(self, store: dist.Store) -> None:
        """Connect to all members through a store that no group has used before."""
        inner = ProcessGroup(store, self.rank(), self.size())
        made: dict[str, dist.Backend] = {}
        for device, name in carriers().items():
            kind, backend = MAKERS[name]
            if name not in made:
                with connections.remembered():
                    named = dist.PrefixStore(f"{device}/", store)
                    made[name] = backend(named, self.rank(), self.size(), timeout=self._timeout)
                made[name]._set_sequence_number_for_group()
            inner._register_backend(torch.device(device), kind, made[name])
            inner._set_default_backend(kind)  # the last one wins
        inner._set_group_name(self._name)
        inner._set_group_desc(self._desc)
        self.carry(inner)
        self._coalesced = None
        self._channels.clear()  # the ledger is cleared too

    def disconnect(self, why: str) -> None:
        """Release the backend; until the group is connected again, ops raise RuntimeError with `why`."""
        if self.connected:
            unused, self._inner = [self._inner], Lost(why)
            connections.close(unused, self, self._timeout.total_seconds())
        self._inner = Lost(why)

    def lose(self, why: str) -> None:
        """`disconnect` for good: some members no longer have the group."""
        self.disconnect(why)
        self.lost = True

    # ------------------------------------------------------------------ point to point
    def _send(self, tensors: list[torch.Tensor], dst: int, tag: int) -> Work:
        peers = self._ranks[self.rank()], self._ranks[dst]
        return self._forward(self._message("send", tensors, peers, tag), lambda: self._inner.send(tensors, dst, tag))

    def _recv(self, tensors: list[torch.Tensor], src: int, tag: int) -> Work:
        peers = self._ranks[src], self._ranks[self.rank()]
        return self._forward(self._message("recv", tensors, peers, tag), lambda: self._inner.recv(tensors, src, tag))

    def _recv_anysource(self, tensors: list[torch.Tensor], tag: int) -> Work:
        entry = self._message("recv", tensors, (ANY_SOURCE, self._ranks[self.rank()]), tag)
        return self._forward(entry, lambda: self._inner.recv_anysource(tensors, tag), self._found_source)

    def _found_source(self, work: Work, entry: PendingOp) -> None:
        self._number_message(entry, (self._ranks[work._source_rank()], self._ranks[self.rank()]))

    def _message(self, kind: str, tensors: list[torch.Tensor], peers: tuple[int, int], tag: int) -> PendingOp:
        entry = self._entry(kind, kind, tensors)
        entry.tag = tag
        self._number_message(entry, peers)
        return entry

    def _number_message(self, entry: PendingOp, peers: tuple[int, int]) -> None:
        entry.channel = self._channel("message", entry.kind, peers, entry.tag)
        entry.seq = entry.channel.next()
        entry.peer = None if ANY_SOURCE in peers else peers[entry.kind == "send"]

    # ------------------------------------------------------------------ coalescing
    def _start_coalescing(self, device: torch.device) -> None:
        self._coalesced = []

    def _end_coalescing(self, device: torch.device) -> Work:
        works, self._coalesced = self._coalesced or [], None
        return JoinedWork(works)

    def _each(self, collective: Callable[..., Work], outputs, inputs, opts) -> Work:
        """Run one op per tensor and return one work for all: for these, gloo supports a single tensor only."""
        around, self._coalesced = self._coalesced, []
        for output, given in zip(outputs, inputs, strict=True):
            collective(output, given, opts)
        works, self._coalesced = self._coalesced, around
        if around is not None:  # inside a coalescing manager, which returns one work for all of its ops
            around.extend(works)
        return works[0] if len(works) == 1 else made(JoinedWork(works))

    # ------------------------------------------------------------------ an op without a Work
    def monitored_barrier(self, timeout: timedelta | None = None, wait_all_ranks: bool = False) -> None:
        """Raise RuntimeError when a rank does not arrive in time; on the group's first rank the error names it."""
        timeout = self._timeout if timeout in (None, dist.constants.default_pg_timeout) else timeout
        entry = self._collective_entry("barrier", [], asynchronous=False)
        recorder.issue(entry)
        recorder.wait_begins(entry)
        try:
            gloo = self._inner._get_backend(torch.device("cpu"))
            interruptible_wait.wait_in_a_thread(partial(gloo.monitored_barrier, timeout, wait_all_ranks))
        except RuntimeError as error:
            recorder.failed(error)
            raise
        recorder.wait_ends(entry, None)

    # ------------------------------------------------------------------ recording
    def _entry(self, kind: str, name: str, tensors: list[torch.Tensor], asynchronous: bool = True) -> PendingOp:
        if len(tensors) == 1:  # nearly always
            tensor = tensors[0]
            count, shape = tensor.numel(), _shape(tensor.shape)
            size_bytes = tensor_bytes(tensor)
        else:
            count = sum([tensor.numel() for tensor in tensors])
            shape = " ".join([_shape(tensor.shape) for tensor in tensors[:3]]) + (" ..." if len(tensors) > 3 else "")
            size_bytes = sum(map(tensor_bytes, tensors))
        entry = PendingOp(kind, name, self.label, self._ranks, 0, size_bytes, shape)
        entry.signature = elements(tensors[0].dtype, count) if tensors else ""
        entry.asynchronous = asynchronous or self._coalesced is not None  # coalesced ops are waited for together
        entry.on_device = bool(tensors) and tensors[0].is_cuda
        return entry

    def _collective_entry(self, name: str, tensors: list[torch.Tensor], asynchronous: bool) -> PendingOp:
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

    def _forward(self, entry: PendingOp, start: Start, on_done=None) -> Work:
        recorder.issue(entry)
        try:
            inner = recorder.start(start)
        except Exception:
            if entry.kind != "collective":  # other ranks know of a collective already: they compared it
                recorder.take_back(entry)
            raise
        recorder.issued(entry, inner)
        work = (RecordedWork if entry.kind == "collective" else RecordedMessage)(inner, entry, on_done)
        if self._coalesced is not None:
            self._coalesced.append(work)
        return made(work)


@lru_cache(maxsize=4096)
def _shape(shape: torch.Size) -> str:
    return str(list(shape))


def _collective(method: str, called: Called):
    def collective(self: RecordedGroup, *args) -> Work:
        options = args[-1]
        if method in ROOTED and not 0 <= options.rootRank < self.size():  # the backend raises
            return getattr(self._inner, method)(*args)
        name, given, run_as = meant(called.name, given_tensors(method, args))
        entry = self._collective_entry(name, given, options.asyncOp)
        entry.run_as = run_as
        entry.signature = what_is_compared(method, args, self._ranks, entry.signature)
        return self._forward(entry, lambda: getattr(self._inner, method)(*args))

    return collective


def _coalesced(one: str):
    def coalesced(self: RecordedGroup, outputs, inputs, options) -> Work:
        return self._each(getattr(self, one), outputs, inputs, options)

    return coalesced


def _called(method: str, arguments: int, last: type, call: Callable[..., Work]) -> None:
    """Define the method with the signature c10d uses, and with the other overloads that pybind accepts."""

    def called(self: RecordedGroup, *args, **kwargs) -> Work:
        if len(args) == arguments and isinstance(args[-1], last) and not kwargs:
            return call(self, *args)
        return read_by_pybind(self, method, args, kwargs)

    called.__name__ = method
    setattr(RecordedGroup, method, called)


for _method, _how in COLLECTIVES.items():
    _called(_method, _how.arguments, _how.options, _collective(_method, _how))
for _kind, _names in {
    "all_gather_single": ("all_gather_single_coalesced", "allgather_into_tensor_coalesced"),
    "reduce_scatter_single": ("reduce_scatter_single_coalesced", "reduce_scatter_tensor_coalesced"),
}.items():
    for _method in _names:
        _called(_method, 3, COLLECTIVES[_kind].options, _coalesced(_kind))
for _method, _arguments in {"send": 3, "recv": 3, "recv_anysource": 2}.items():
    _called(_method, _arguments, int, getattr(RecordedGroup, f"_{_method}"))
stand_before_ops()
never_compiled(*(module for name, module in list(sys.modules.items()) if name.startswith(__package__) and module))
