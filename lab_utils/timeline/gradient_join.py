"""Puts what ranks recorded of a backward beside the ops of their trace, on one clock: makes a FlowPicture."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from lab_utils.timeline.gradient_flow import FlowPicture, Layer, Line, OnWire
from lab_utils.timeline.gradients import Bucket, FlowRecord, Gradient
from lab_utils.timeline.trace import Op, Trace


class Join:
    """One picture to be: `picture()`."""

    def __init__(self, trace: Trace, records: Sequence[FlowRecord], most_layers: int) -> None:
        if any(not isinstance(record, FlowRecord) for record in records):
            raise ValueError("these are no records of gradients: let the recorded function return flow.record()")
        self.trace, self.records, self.most = trace, sorted(records, key=lambda r: r.rank), most_layers
        ranks = [record.rank for record in self.records]
        if ranks != list(range(trace.world_size)):
            raise ValueError(
                f"gradient flow needs one record of each of {trace.world_size} ranks, and these are {ranks}"
            )
        if late := [r.rank for r in self.records if r.origin_s is None]:
            raise ValueError(f"ranks {late} were not recorded during the backward: call the program with ranks.record")
        # The trace's clock begins when the first rank's recording did.
        self.zero_s = min(record.began_s for record in self.records)
        self.shift_s = self.zero_s - min(record.origin_s for record in self.records)
        self.collectives = trace.collectives()
        self.met = {key: max(op.issue_s for op in ops) for key, ops in self.collectives.items()}
        self.buckets = self._all_buckets()
        self.bucket_of = {
            (rank, name): at for at, own in enumerate(self.buckets) for rank, b in own.items() for name in b.names
        }

    def picture(self) -> FlowPicture:
        layers, ranks = self._layers(), range(self.trace.world_size)
        times_s = [[self._ready_s(layer, rank) for layer in layers] for rank in ranks]
        order = sorted(range(len(layers)), key=lambda at: _order(layers[at], [row[at] for row in times_s]))
        lines, others = [self._line(own) for own in self.buckets], self._others()
        ends = [wire.done_s for line in [*lines, *others] for wire in line.ops]
        ends += [record.ended_s - self.zero_s for record in self.records]
        return FlowPicture(
            self.trace.world_size, tuple(layers[at] for at in order), tuple(map(_seen, self.buckets)),
            tuple(lines), tuple(others), tuple(tuple(row[at] for at in order) for row in times_s), max(ends),
        )  # fmt: skip

    # ------------------------------------------------------------------ gradients and their buckets
    def _all_buckets(self) -> list[dict[int, Bucket]]:
        """Each bucket, as every rank has it that does, in the order in which they leave.

        Ranks that hold pieces of the same gradients (a mesh of several axes) have their ops in groups of their own.
        """
        found: dict[tuple[str, ...], dict[int, Bucket]] = {}
        for record in self.records:
            for bucket in record.buckets:
                found.setdefault(bucket.names, {})[record.rank] = bucket
        return sorted(found.values(), key=self._leaves_s)

    def _leaves_s(self, own: dict[int, Bucket]) -> float:
        return min((self.met.get(key, math.inf) for bucket in own.values() for key in bucket.ops), default=math.inf)

    def _layers(self) -> list[Layer]:
        names = list(dict.fromkeys(g.name for record in self.records for g in record.gradients))
        by_rank = [{g.name: g for g in record.gradients} for record in self.records]
        layers = []
        for name, members in merged(names, self.most).items():
            held = tuple(tuple(mine[n] for n in members if n in mine) for mine in by_rank)
            buckets = {self.bucket_of.get((rank, g.name)) for rank, mine in enumerate(held) for g in mine}
            layers.append(Layer(name, held, max(buckets - {None}, default=None)))
        return layers

    def _ready_s(self, layer: Layer, rank: int) -> tuple[float, ...]:
        """Of the layer's parameters together, one for each backward that all of them took part in."""
        times_s = [gradient.ready_s for gradient in layer.held[rank] if gradient.ready_s]
        rounds = min(map(len, times_s), default=0)
        return tuple(max(times[at] for times in times_s) - self.zero_s for at in range(-rounds, 0))

    # ------------------------------------------------------------------ the wire
    def _line(self, own: dict[int, Bucket]) -> Line:
        found = {rank: [op for key in b.ops for op in self.collectives.get(key, ())] for rank, b in own.items()}
        ops = [op for rank, members in found.items() for op in members if op.rank == rank]
        name = " + ".join(dict.fromkeys(op.name for op in ops))
        return Line(name or "not seen on the wire", tuple(map(self._on_wire, ops)))

    def _on_wire(self, op: Op, met_s: float | None = None) -> OnWire:
        met_s = self.met.get((op.group, op.seq), op.issue_s) if met_s is None else met_s
        done_s = max(op.issue_s, met_s if op.done_s is None else op.done_s)
        times = (op.issue_s, min(max(op.issue_s, met_s), done_s), done_s)
        return OnWire(op.rank, *(t - self.shift_s for t in times), op)

    def _others(self) -> list[Line]:
        """Communication inside the block that carries no bucket, a line for each kind of group or pair of ranks."""
        carried = {key for own in self.buckets for bucket in own.values() for key in bucket.ops}
        found: dict[str, list[OnWire]] = {}
        for op in self._inside():
            if op.kind == "collective" and (op.group, op.seq) not in carried:
                members = ",".join(map(str, op.ranks))
                group = re.sub(rf" {members}( \(\d+\))?$", r"\1", op.group)  # alike groups share a line
                found.setdefault(f"{op.name}, {group}", []).append(self._on_wire(op))
        return [*self._messages(), *(Line(name, tuple(ops)) for name, ops in found.items())]

    def _messages(self) -> list[Line]:
        """A line for each pair of ranks; it stands where its last message was sent."""
        carriers, inside = self._carriers(), {id(op) for op in self._inside()}
        found: dict[str, list[OnWire]] = {}
        for pair in self.trace.messages().values():
            ops = [op for op in pair.values() if id(op) in inside]
            for op in ops:
                what = "gradients" if id(pair.get("send")) in carriers else "messages"
                source, to = (op.rank, op.peer) if op.kind == "send" else (op.peer, op.rank)
                met_s = max(other.issue_s for other in pair.values())
                found.setdefault(f"{what}, rank {source} → {to}", []).append(self._on_wire(op, met_s))
        return [
            Line(name, tuple(sorted(ops, key=lambda w: (w.rank, w.issue_s))), max(wire.met_s for wire in ops))
            for name, ops in found.items()
        ]  # fmt: skip

    def _inside(self) -> Iterator[Op]:
        for record, ops in zip(self.records, self.trace.ops, strict=True):
            for op in ops:
                if (
                    op.issue_s is not None
                    and record.began_s <= op.issue_s + self.zero_s - self.shift_s <= record.ended_s
                ):
                    yield op

    def _carriers(self) -> set[int]:
        """ids of the sends that take the gradient of a stage's input: the first of its size once it is there."""
        carriers: set[int] = set()
        for record, ops in zip(self.records, self.trace.ops, strict=True):
            for edge in (g for g in record.gradients if g.kind == "input"):
                for ready_s in edge.ready_s:
                    carriers |= set(self._sends(ops, edge, ready_s - self.zero_s + self.shift_s, carriers))
        return carriers

    def _sends(self, ops: Sequence[Op], edge: Gradient, ready_s: float, taken: set[int]) -> list[int]:
        size = edge.bytes // len(edge.ready_s)
        later = (op for op in ops if op.kind == "send" and op.bytes == size and op.issue_s >= ready_s)
        return [id(op) for op in later if id(op) not in taken][:1]


def merged(names: Sequence[str], most: int) -> dict[str, list[str]]:
    """The names, taken together by what stands before a dot where there are more than `most`, as little as will do.

    >>> merged(["0.up.weight", "0.up.bias", "1.up.weight"], 2)
    {"0.up": ["0.up.weight", "0.up.bias"], "1.up": ["1.up.weight"]}
    """
    deepest = max((name.count(".") for name in names), default=0) + 1
    for depth in range(deepest, 0, -1):
        found: dict[str, list[str]] = {}
        for name in names:
            found.setdefault(".".join(name.split(".")[:depth]), []).append(name)
        if len(found) <= most:
            break
    return found


def _seen(own: dict[int, Bucket]) -> Bucket:
    """Any rank's, rather one whose op was recorded."""
    return next((bucket for bucket in own.values() if bucket.op), next(iter(own.values())))


def _order(layer: Layer, ready_s: Sequence[tuple[float, ...]]) -> tuple:
    """By bucket, those of none last; then as they became ready on the ranks."""
    return layer.bucket is None, layer.bucket or 0, min((times[-1] for times in ready_s if times), default=math.inf)
