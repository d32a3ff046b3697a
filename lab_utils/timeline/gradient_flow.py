"""Gradient flow: what the ranks recorded of a backward, put beside the ops of the trace on one clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from lab_utils.timeline.gradients import Bucket, FlowRecord, Gradient, ratio
from lab_utils.timeline.trace import Op, Trace
from lab_utils.timeline.units import time_text

MOST_LAYERS = 28
COLUMNS = ("layer", "ready", "bucket", "sent", "back", "norm", "disagreement", "kept")


@dataclass(frozen=True, slots=True)
class OnWire:
    """An op of one rank on the wire: issued, all that take part are there, done. Seconds since the flow's start."""

    rank: int
    issue_s: float
    met_s: float
    done_s: float
    op: Op


@dataclass(frozen=True, slots=True)
class Line:
    """Ops that share a row of the picture, in order of rank and issue: a bucket's, or others of the same kind.

    `at_s` is where messages stand between the layers: when the last one had both its ranks; None for others.
    """

    name: str
    ops: tuple[OnWire, ...]
    at_s: float | None = None

    def of(self, rank: int) -> list[OnWire]:
        return [wire for wire in self.ops if wire.rank == rank]


@dataclass(frozen=True, slots=True)
class Layer:
    """One parameter, or several shown as one, on all ranks: `held[rank]` has each rank's gradients, maybe none."""

    name: str
    held: tuple[tuple[Gradient, ...], ...]
    bucket: int | None

    def norm(self, rank: int, when: str = "before") -> float | None:
        """Of what this rank computed itself, all parameters together; "after": of what it kept."""
        return _together(getattr(gradient, f"norm_{when}") for gradient in self.held[rank])

    def disagreement(self, rank: int, when: str) -> float | None:
        """`when` is "before" or "after" the reduction; None where no other rank holds the same."""
        pairs = [(getattr(g, f"spread_{when}"), getattr(g, f"mean_{when}")) for g in self.held[rank]]
        known = [pair for pair in pairs if None not in pair]
        return ratio(_together(s for s, _ in known), _together(m for _, m in known)) if known else None

    def worst(self, when: str) -> float | None:
        """The largest disagreement of any rank; NaN counts as larger than any."""
        found = [d for rank in range(len(self.held)) if (d := self.disagreement(rank, when)) is not None]
        return max(found, key=lambda d: (math.isnan(d), d), default=None)

    def share(self, rank: int) -> float | None:
        """The part of it that the rank keeps the gradient of; None where it has none."""
        whole = [math.prod(gradient.shape) for gradient in self.held[rank]]
        kept = [gradient.share * size for gradient, size in zip(self.held[rank], whole, strict=True)]
        return sum(kept) / sum(whole) if sum(whole) else None


@dataclass(frozen=True)
class FlowPicture:
    """All that a picture of gradient flow shows. Times are seconds since the first rank began its backward.

    layers    in the order in which their gradients became ready; those of a bucket stand together
    buckets   of all ranks: a bucket is one op, or one set of names where no op was recorded
    others    the other communication during the backward: messages between stages, tensor-parallel reductions
    came_s    [rank][layer] when the layer's gradients were ready, once for each backward (micro-batch) in the block
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
        """Join them. ValueError unless there is one record of each rank of the trace, recorded with it."""
        from lab_utils.timeline.gradient_join import Join  # which makes these, so not at the top

        return Join(trace, records, most_layers).picture()

    @cached_property
    def ready_s(self) -> tuple[tuple[float | None, ...], ...]:
        """[rank][layer] when the layer's last gradient was ready, None where none was."""
        return tuple(tuple(times[-1] if times else None for times in row) for row in self.came_s)

    @cached_property
    def title(self) -> str:
        """The picture's name."""
        return f"Gradient flow on {_counted(self.world_size, 'rank')}"

    def headline(self, timed: bool = True) -> str:
        """How many gradients and buckets, how long it took, and whether the ranks agree in the end.

        Not timed, it is the same on every run.
        """
        gradients = (g for layer in self.layers for held in layer.held for g in held)
        count = len({gradient.name for gradient in gradients if gradient.kind == "parameter"})
        buckets = f" in {_counted(len(self.buckets), 'bucket')}" if self.buckets else ""
        took = f", {time_text(self.end_s)}" if timed else ""
        return f"{_counted(count, 'gradient')}{buckets}{took}; {self.agreement()}"

    def agreement(self) -> str:
        """Whether what the ranks have after the reduction is equal, where it is not, and what is not finite."""
        worst = [(layer, layer.worst("after")) for layer in self.layers]
        differ = [layer.name for layer, value in worst if value]  # NaN counts, but is said for itself
        odd = [layer.name for layer in self.layers if not all(map(math.isfinite, self._norms(layer)))]
        said = [f"not finite: {_listed(odd)}"] if odd else []
        if differ := [name for name in differ if name not in odd]:
            said.append(f"the ranks disagree about {_listed(differ)}")
        elif known := [layer for layer, value in worst if value is not None]:
            all_of_them = "all of them" if len(known) == len(worst) else "what several keep"
            said.append(f"the ranks agree on {'the others' if odd else all_of_them}")
        else:
            said.append("no two ranks keep the same")
        return "; ".join(said)

    def _norms(self, layer: Layer) -> list[float]:
        return [norm for rank in range(self.world_size) if (norm := layer.norm(rank)) is not None]

    def table(self) -> list[tuple[str, ...]]:
        """Rows of words for who cannot see the picture; the first row is the heads."""
        return [COLUMNS, *(self.row(at) for at in range(len(self.layers)))]

    def row(self, at: int) -> tuple[str, ...]:
        layer = self.layers[at]
        wires = [] if layer.bucket is None else self.lines[layer.bucket].ops
        return (
            layer.name,
            spread((self.ready_s[rank][at] for rank in range(self.world_size)), time_text),
            "-" if layer.bucket is None else str(layer.bucket),
            spread((wire.issue_s for wire in wires), time_text),
            spread((wire.done_s for wire in wires), time_text),
            spread(map(layer.norm, range(self.world_size)), number_text),
            f"{_said(layer.worst('before'))} → {_said(layer.worst('after'))}",
            spread(map(layer.share, range(self.world_size)), lambda share: f"{100 * share:.0f} %"),
        )


def _together(norms: Iterable[float | None]) -> float | None:
    known = [norm for norm in norms if norm is not None]
    return math.sqrt(math.fsum(norm * norm for norm in known)) if known else None


def _listed(names: Sequence[str], most: int = 3) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def _said(value: float | None) -> str:
    return "-" if value is None else number_text(value)


def number_text(value: float) -> str:
    """Three digits: 0.0341, 1.2e-05, 0, NaN."""
    return "NaN" if math.isnan(value) else f"{value:.3g}"


def spread(values: Iterable[float | None], say: Callable[[float], str]) -> str:
    """One text where all are alike, the least and the largest otherwise."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    odd = next((value for value in known if math.isnan(value)), None)
    texts = [say(min(known)), say(max(known))] if odd is None else [say(odd)]
    return " to ".join(dict.fromkeys(texts))
