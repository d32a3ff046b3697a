"""Which gradients are reduced together, and which recorded op carried them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.fsdp._fully_shard._fsdp_common import HSDPMeshInfo
from torch.nn.parallel import DistributedDataParallel

from lab_utils.comm.recorder.announced_buckets import announced
from lab_utils.comm.recorder.pending_op import PendingOp
from lab_utils.widgets.gradient_flow.record import Bucket

_REDUCTIONS = ("all_reduce", "reduce_scatter", "reduce")


@dataclass(frozen=True, slots=True)
class Planned:
    """Gradients that a library reduces together, as one op with this name and number of bytes.

    `then_bytes` is the size of the all-reduce over replicas that follows it.
    """

    names: tuple[str, ...]
    bytes: int
    op: str
    how: str
    then_bytes: int | None = None


def fsdp_parameters(model: nn.Module) -> Iterator[list]:
    """Yield the FSDPParams of each group of parameters that FSDP2 gathers and reduces together."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            for group in module._get_fsdp_state()._fsdp_param_groups:
                if module is group.modules[0]:
                    yield group.fsdp_params


def planned_buckets(model: nn.Module, names: Mapping[int, str]) -> list[Planned]:
    """Return buckets of every DDP and FSDP2 module in `model`, and announced ones. names: id of a parameter → name.

    DDP's come from its reducer, in the order in which it sends them; it rebuilds them before its second forward.
    """
    found = []
    for module in model.modules():
        if isinstance(module, DistributedDataParallel):
            for bucket in module.reducer._get_zeros_like_grad_buckets():
                members = tuple(names[id(parameter)] for parameter in bucket.parameters())
                found.append(Planned(members, bucket.buffer().nbytes, "all_reduce", "DDP"))
        for parameters, size, op in announced(module):
            found.append(Planned(tuple(names[id(p)] for p in parameters if id(p) in names), size, op, "announced"))
    for parameters in fsdp_parameters(model):
        members = tuple(names[id(p.sharded_param)] for p in parameters if id(p.sharded_param) in names)
        size, mesh = sum(map(_padded_bytes, parameters)), parameters[0].mesh_info
        then_bytes = size // mesh.shard_mesh_size if isinstance(mesh, HSDPMeshInfo) else None
        found.append(Planned(members, size, "reduce_scatter", "FSDP", then_bytes))
    return [bucket for bucket in found if bucket.names]


def _padded_bytes(parameter) -> int:
    """Return the reduced bytes: FSDP2 pads the first dim to a multiple of its ranks and may reduce in another dtype."""
    dtype = parameter.reduce_dtype or parameter.param_dtype or parameter.orig_dtype
    return parameter.padded_sharded_param_size.numel() * parameter.mesh_info.shard_mesh_size * dtype.itemsize


def on_wire(planned: Sequence[Planned], ready_s: Mapping[str, float], ops: Sequence[PendingOp]) -> list[Bucket]:
    """Return each bucket with the op that carried it; `ready_s` and the ops' `issue_s` share one clock.

    A bucket is sent when its last gradient is ready and (except FSDP's) after the bucket ahead of it: its op is the
    first of its name and size after that. With a hook that changes the size (compression), it is the first
    asynchronous op issued before any other gradient is ready. Otherwise the bucket has no op.
    """
    names = {*_REDUCTIONS, *(bucket.op for bucket in planned)}
    free = [op for op in ops if op.kind == "collective" and op.name in names]
    leaves: dict[Planned, float] = {}
    ahead_s = float("-inf")
    for bucket in planned:
        last_s = max((ready_s[name] for name in bucket.names if name in ready_s), default=float("inf"))
        ahead_s = last_s if bucket.how == "FSDP" else max(ahead_s, last_s)
        leaves[bucket] = ahead_s
    buckets = []
    for bucket in sorted(planned, key=leaves.__getitem__):  # a stable sort: DDP's keep their order
        op = _op_of(bucket, leaves[bucket], free, ready_s)
        if op is not None:
            free.remove(op)
        then = op and _follower_of(op, bucket, free)
        buckets.append(Bucket(bucket.names, bucket.bytes, bucket.how, *(o and (o.group, o.seq) for o in (op, then))))
    return buckets


def _follower_of(op: PendingOp, bucket: Planned, free: list[PendingOp]) -> PendingOp | None:
    """Remove the all-reduce over replicas from the free ops and return it."""
    wanted = (later for later in free if later.issue_s >= op.issue_s and later.group != op.group)
    found = next((o for o in wanted if (o.name, o.bytes) == ("all_reduce", bucket.then_bytes)), None)
    if found is not None:
        free.remove(found)
    return found


def _op_of(
    bucket: Planned, leaves_s: float, free: Sequence[PendingOp], ready_s: Mapping[str, float]
) -> PendingOp | None:
    later = [op for op in free if op.issue_s >= leaves_s]
    next_s = min((at_s for at_s in ready_s.values() if at_s > leaves_s), default=float("inf"))
    soon = [op for op in later if op.asynchronous and op.issue_s <= next_s]
    same = [op for op in later if (op.name, op.bytes) == (bucket.op, bucket.bytes)]
    return next(iter([*same, *soon]), None)


def fitting(sizes: Mapping[str, int], ready_s: Mapping[str, float], ops: Iterable[PendingOp]) -> list[Bucket]:
    """Infer a program's own buckets by size: each reduction takes consecutive gradients that add up to its bytes.

    sizes   bytes of each gradient, in the order of the model's parameters

    Tries the order of the parameters, its reverse, and the order of readiness, and returns the one that matches most
    bytes to ops issued after they were ready; no buckets if that is less than half of all bytes.
    """
    reductions = [op for op in ops if op.kind == "collective" and op.name in _REDUCTIONS]
    names = [name for name in sizes if name in ready_s]
    orders = (names, names[::-1], sorted(names, key=ready_s.__getitem__))
    found = [_fitted(order, sizes, ready_s, reductions) for order in orders]
    best = max(found, key=_placed)  # the first in case of a tie
    return best if 2 * _placed(best) >= sum(sizes.values()) else []


def _placed(buckets: Sequence[Bucket]) -> int:
    return sum(bucket.bytes for bucket in buckets)


def _fitted(
    order: Sequence[str], sizes: Mapping[str, int], ready_s: Mapping[str, float], ops: Sequence[PendingOp]
) -> list[Bucket]:
    """Match each op to the next run of ready gradients with its number of bytes; gradients may be left out."""
    buckets, at = [], 0
    for op in ops:
        for start in range(at, len(order)):
            end, size = start, 0
            while end < len(order) and size < op.bytes and ready_s[order[end]] <= op.issue_s:
                size += sizes[order[end]]
                end += 1
            if end > start and size == op.bytes:
                buckets.append(Bucket(tuple(order[start:end]), op.bytes, "sizes", (op.group, op.seq)))
                at = end
                break
    return buckets


def modules_by_name(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield (prefix, module): "" or the name and a dot, without the "module." that DDP adds to names inside it."""
    yield prefix, module
    for name, child in module.named_children():
        yield from modules_by_name(child, prefix if isinstance(module, DistributedDataParallel) else f"{prefix}{name}.")


def trained_by_name(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters that require a gradient, each under the first of its names in `modules_by_name`."""
    named: dict[Tensor, str] = {}
    for prefix, module in modules_by_name(model):
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                named.setdefault(parameter, prefix + name)
    return {name: parameter for parameter, name in named.items()}
