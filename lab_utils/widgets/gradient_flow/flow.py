"""Gradient flow: the gradients that ranks recorded in a backward and the ops of the trace, on one clock."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from lab_utils.text import counted, listed, time_text
from lab_utils.timeline.ops import Op
from lab_utils.timeline.trace import Trace
from lab_utils.widgets.gradient_flow import words
from lab_utils.widgets.gradient_flow.record import Bucket, FlowRecord, Gradient, ratio

MOST_LAYERS = 28


@dataclass(frozen=True, slots=True)
class OnWire:
    """One rank's communication op: issued, issued by all its ranks, done; in seconds since the flow began."""

    rank: int
    issue_s: float
    met_s: float
    done_s: float
    op: Op


@dataclass(frozen=True, slots=True)
class Line:
    """Ops that share a row of the picture, ordered by rank and issue time: a bucket's, or others of the same kind.

    at_s   places messages between the layers: when both ranks had issued the last one; None for other ops
    """

    name: str
    ops: tuple[OnWire, ...]
    at_s: float | None = None

    def of(self, rank: int) -> list[OnWire]:
        return [wire for wire in self.ops if wire.rank == rank]


@dataclass(frozen=True, slots=True)
class Layer:
    """One parameter, or several shown as one, on all ranks: `held[rank]` are that rank's gradients, possibly none."""

    name: str
    held: tuple[tuple[Gradient, ...], ...]
    bucket: int | None

    def norm(self, rank: int, when: str = "before") -> float | None:
        """Return the norm, over all its parameters, of the gradient that this rank computed, or kept ("after")."""
        return _together(getattr(gradient, f"norm_{when}") for gradient in self.held[rank])

    def disagreement(self, rank: int, when: str) -> float | None:
        """Return the disagreement "before" or "after" the reduction, None if no other rank holds the same."""
        pairs = [(getattr(g, f"spread_{when}"), getattr(g, f"mean_{when}")) for g in self.held[rank]]
        known = [pair for pair in pairs if None not in pair]
        return ratio(_together(s for s, _ in known), _together(m for _, m in known)) if known else None

    def worst(self, when: str) -> float | None:
        """Return the largest disagreement of any rank; NaN counts as the largest."""
        found = [d for rank in range(len(self.held)) if (d := self.disagreement(rank, when)) is not None]
        return max(found, key=lambda d: (math.isnan(d), d), default=None)

    def share(self, rank: int) -> float | None:
        """Return the fraction whose gradient the rank keeps; None if it has none."""
        whole = [math.prod(gradient.shape) for gradient in self.held[rank]]
        kept = [gradient.share * size for gradient, size in zip(self.held[rank], whole, strict=True)]
        return sum(kept) / sum(whole) if sum(whole) else None


@dataclass(frozen=True)
class FlowPicture:
    """The content of a gradient flow picture. Times are seconds since the first rank began its backward.

    layers    in the order in which their gradients became ready, grouped by bucket
    buckets   of all ranks: one op each, or one set of names if no op was recorded
    others    the other communication during the backward: messages between stages, tensor-parallel reductions
    came_s    [rank][layer] times at which the layer's gradients were ready, one per backward (micro-batch) in the block
    """

    world_size: int
    layers: tuple[Layer, ...]
    buckets: tuple[Bucket, ...]
    lines: tuple[Line, ...]
    others: tuple[Line, ...]
    came_s: tuple[tuple[tuple[float, ...], ...], ...]
    end_s: float

    @classmethod
    def of(cls, trace: Trace, records: Sequence[FlowRecord], most_layers: int = MOST_LAYERS) -> FlowPicture:
        """Join a trace and its records. ValueError unless there is one record per rank, recorded with the trace."""
        return Join(trace, records, most_layers).picture()

    @cached_property
    def ready_s(self) -> tuple[tuple[float | None, ...], ...]:
        """[rank][layer] time at which the layer's last gradient was ready, None if none was."""
        return tuple(tuple(times[-1] if times else None for times in row) for row in self.came_s)

    @cached_property
    def title(self) -> str:
        """The title of the picture."""
        return words.TITLE.format(ranks=counted(self.world_size, "rank"))

    def headline(self, timed: bool = True) -> str:
        """Return the number of gradients and buckets, the duration, and whether the ranks agree in the end.

        With timed=False it is the same on every run.
        """
        gradients = (g for layer in self.layers for held in layer.held for g in held)
        said = counted(len({gradient.name for gradient in gradients if gradient.kind == "parameter"}), "gradient")
        if self.buckets:
            said = words.IN_BUCKETS.format(gradients=said, buckets=counted(len(self.buckets), "bucket"))
        if timed:
            said = words.TOOK.format(gradients=said, time=time_text(self.end_s))
        return words.HEADLINE.format(gradients=said, agreement=self.agreement())

    def agreement(self) -> str:
        """Return whether the ranks agree after the reduction, the layers where they do not, and those not finite."""
        worst = [(layer, layer.worst("after")) for layer in self.layers]
        differ = [layer.name for layer, value in worst if value]  # NaN counts, but is reported separately
        odd = [layer.name for layer in self.layers if not all(map(math.isfinite, self._norms(layer)))]
        said = [words.NOT_FINITE.format(layers=listed(odd))] if odd else []
        if differ := [name for name in differ if name not in odd]:
            said.append(words.DISAGREE.format(layers=listed(differ)))
        elif known := [layer for layer, value in worst if value is not None]:
            every = words.AGREE_ON_ALL if len(known) == len(worst) else words.AGREE_ON_SHARED
            said.append(words.AGREE_ON_OTHERS if odd else every)
        else:
            said.append(words.NONE_SHARED)
        return "; ".join(said)

    def _norms(self, layer: Layer) -> list[float]:
        return [norm for rank in range(self.world_size) if (norm := layer.norm(rank)) is not None]

    def table(self) -> list[tuple[str, ...]]:
        """Return the picture as rows of text, for screen readers; the first row is the header."""
        return [words.TABLE, *(self.row(at) for at in range(len(self.layers)))]

    def row(self, at: int) -> tuple[str, ...]:
        layer = self.layers[at]
        wires = [] if layer.bucket is None else self.lines[layer.bucket].ops
        return (
            layer.name,
            spread((self.ready_s[rank][at] for rank in range(self.world_size)), time_text),
            words.NONE if layer.bucket is None else str(layer.bucket),
            spread((wire.issue_s for wire in wires), time_text),
            spread((wire.done_s for wire in wires), time_text),
            spread(map(layer.norm, range(self.world_size)), number_text),
            words.BEFORE_AND_AFTER.format(before=_or_none(layer.worst("before")), after=_or_none(layer.worst("after"))),
            spread(map(layer.share, range(self.world_size)), lambda share: f"{100 * share:.0f} %"),
        )


def _together(norms: Iterable[float | None]) -> float | None:
    known = [norm for norm in norms if norm is not None]
    return math.sqrt(math.fsum(norm * norm for norm in known)) if known else None


def _or_none(value: float | None) -> str:
    return words.NONE if value is None else number_text(value)


def number_text(value: float) -> str:
    """Format with three significant digits: 0.0341, 1.2e-05, 0, NaN."""
    return words.NOT_A_NUMBER if math.isnan(value) else f"{value:.3g}"


def spread(values: Iterable[float | None], say: Callable[[float], str]) -> str:
    """Return one text if all values read alike, else "least to largest"."""
    known = [value for value in values if value is not None]
    if not known:
        return words.NONE
    odd = next((value for value in known if math.isnan(value)), None)
    texts = [say(min(known)), say(max(known))] if odd is None else [say(odd)]
    return words.LEAST_TO_LARGEST.join(dict.fromkeys(texts))


class Join:
    """Joins the ranks' records with the ops of their trace on one clock: `picture()` builds the FlowPicture."""

    def __init__(self, trace: Trace, records: Sequence[FlowRecord], most_layers: int) -> None:
        if any(not isinstance(record, FlowRecord) for record in records):
            raise ValueError(words.NO_RECORDS)
        self.trace, self.records, self.most = trace, sorted(records, key=lambda r: r.rank), most_layers
        ranks = [record.rank for record in self.records]
        if ranks != list(range(trace.world_size)):
            raise ValueError(words.NOT_EACH_ONCE.format(size=trace.world_size, ranks=ranks))
        if late := [r.rank for r in self.records if r.origin_s is None]:
            raise ValueError(words.NOT_RECORDED.format(ranks=late))
        # The trace's clock starts with the first rank's recording.
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

    def _all_buckets(self) -> list[dict[int, Bucket]]:
        """Return each bucket by rank, for the ranks that have it, in the order in which buckets are sent.

        Ranks that hold pieces of the same gradients (a mesh of several axes) have ops in separate process groups.
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
        """Return when all the layer's parameters were ready, once per backward in which all of them took part."""
        times_s = [gradient.ready_s for gradient in layer.held[rank] if gradient.ready_s]
        rounds = min(map(len, times_s), default=0)
        return tuple(max(times[at] for times in times_s) - self.zero_s for at in range(-rounds, 0))

    def _line(self, own: dict[int, Bucket]) -> Line:
        found = {rank: [op for key in b.ops for op in self.collectives.get(key, ())] for rank, b in own.items()}
        ops = [op for rank, members in found.items() for op in members if op.rank == rank]
        name = " + ".join(dict.fromkeys(op.name for op in ops))
        return Line(name or words.NOT_ON_THE_WIRE, tuple(map(self._on_wire, ops)))

    def _on_wire(self, op: Op, met_s: float | None = None) -> OnWire:
        met_s = self.met.get((op.group, op.seq), op.issue_s) if met_s is None else met_s
        done_s = max(op.issue_s, met_s if op.done_s is None else op.done_s)
        times = (op.issue_s, min(max(op.issue_s, met_s), done_s), done_s)
        return OnWire(op.rank, *(t - self.shift_s for t in times), op)

    def _others(self) -> list[Line]:
        """Return communication inside the block that carries no bucket: a line per kind of group or pair of ranks."""
        carried = {key for own in self.buckets for bucket in own.values() for key in bucket.ops}
        found: dict[str, list[OnWire]] = {}
        for op in self._inside():
            if op.kind == "collective" and (op.group, op.seq) not in carried:
                members = ",".join(map(str, op.ranks))
                group = re.sub(rf" {members}( \(\d+\))?$", r"\1", op.group)  # groups of the same kind share a line
                found.setdefault(f"{op.name}, {group}", []).append(self._on_wire(op))
        return [*self._messages(), *(Line(name, tuple(ops)) for name, ops in found.items())]

    def _messages(self) -> list[Line]:
        """Return a line per pair of ranks, placed where its last message was sent."""
        carriers, inside = self._carriers(), {id(op) for op in self._inside()}
        found: dict[str, list[OnWire]] = {}
        for pair in self.trace.messages().values():
            ops = [op for op in pair.values() if id(op) in inside]
            for op in ops:
                source, to = (op.rank, op.peer) if op.kind == "send" else (op.peer, op.rank)
                met_s = max(other.issue_s for other in pair.values())
                name = words.GRADIENTS if id(pair.get("send")) in carriers else words.MESSAGES
                found.setdefault(name.format(source=source, to=to), []).append(self._on_wire(op, met_s))
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
        """Return ids of the sends of a stage's input gradient: the first send of its size once it is ready."""
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
    """Group names by their prefix up to a dot if there are more than `most`, as deep a prefix as fits.

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
    """Return the bucket of any rank, preferably one whose op was recorded."""
    return next((bucket for bucket in own.values() if bucket.op), next(iter(own.values())))


def _order(layer: Layer, ready_s: Sequence[tuple[float, ...]]) -> tuple:
    """Sort key: by bucket, layers without one last; then by the time at which they became ready."""
    return layer.bucket is None, layer.bucket or 0, min((times[-1] for times in ready_s if times), default=math.inf)
