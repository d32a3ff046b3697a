"""What was recorded of one backward: each rank's gradients, the buckets they joined, and who keeps which piece."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

OpKey = tuple[str, int]  # group and seq of a collective, as `Trace.collectives()` has them
Kind = Literal["parameter", "input", "output"]


@dataclass(frozen=True, slots=True)
class Piece:
    """The box of a tensor that a rank holds: where it begins in each dim, and its size in each."""

    offset: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Gradient:
    """A gradient on one rank. What a rank could not know, or nobody else holds, is None.

    kind          of a parameter; or of what a stage of a pipeline was given (input), or gave (output)
    shape         of the whole parameter, over all ranks; of an input or output: of one micro-batch
    bytes         of the gradient that this rank computed, before any reduction; of all micro-batches
    ready_s       when it was accumulated, once for each backward in the block (`origin_s`' clock)
    norm_before   Euclidean norm of this rank's own gradient, before any reduction; `norm_after` of what it kept
    mean_before   norm of the mean over the ranks that hold the same piece; `spread_before` this rank's distance from it
    mean_after    the same of what the ranks have after the reduction, where several keep the same piece
    error_after   distance of what this rank kept from the mean of what the ranks had: 0 when the reduction is a mean
    kept          the piece of it that this rank keeps (ZeRO, FSDP, tensor parallel); all of it otherwise
    owner         the rank whose optimizer updates it, where one rank does it for all (ZeRO 1)
    """

    name: str
    shape: tuple[int, ...]
    bytes: int
    ready_s: tuple[float, ...] = ()
    norm_before: float | None = None
    norm_after: float | None = None
    mean_before: float | None = None
    spread_before: float | None = None
    mean_after: float | None = None
    spread_after: float | None = None
    error_after: float | None = None
    kept: Piece | None = None
    owner: int | None = None
    kind: Kind = "parameter"

    @property
    def disagreement_before(self) -> float | None:
        """‖own − mean‖ / ‖mean‖, over the ranks that hold the same piece; None where no other does."""
        return ratio(self.spread_before, self.mean_before)

    @property
    def disagreement_after(self) -> float | None:
        """The same, of what the ranks have after the reduction: 0 where they agree."""
        return ratio(self.spread_after, self.mean_after)

    @property
    def error(self) -> float | None:
        """‖kept − mean of what the ranks had‖ / ‖that mean‖."""
        return ratio(self.error_after, self.mean_before)

    @property
    def share(self) -> float:
        """The part of the parameter that this rank keeps the gradient of."""
        whole = math.prod(self.shape)
        return 1.0 if self.kept is None or not whole else math.prod(self.kept.shape) / whole


@dataclass(frozen=True, slots=True)
class Bucket:
    """Gradients that go on the wire as one op, in the order of the buckets.

    bytes   that a rank gives to the op
    how     how its gradients are known: "DDP", "FSDP", "announced" by who reduces them, or "sizes" (the op's fit these)
    op      the op in the trace; None when it was not recorded
    then    and the all-reduce over the replicas of what came of it (hybrid sharding), where there is one
    """

    names: tuple[str, ...]
    bytes: int
    how: str
    op: OpKey | None = None
    then: OpKey | None = None

    @property
    def ops(self) -> tuple[OpKey, ...]:
        """Those that were recorded."""
        return tuple(key for key in (self.op, self.then) if key is not None)


@dataclass(frozen=True, slots=True)
class FlowRecord:
    """One rank's backward. Times are the rank's own clock; `origin_s` is when its recording began, if it was recorded.

    `gradients` are in the order of the model's parameters.
    """

    rank: int
    began_s: float
    ended_s: float
    origin_s: float | None
    gradients: tuple[Gradient, ...]
    buckets: tuple[Bucket, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> FlowRecord:
        """What `to_dict` gave, also after it went through JSON."""
        gradients = tuple(_gradient(gradient) for gradient in content["gradients"])
        buckets = tuple(
            Bucket(tuple(b["names"]), b["bytes"], b["how"], b["op"] and tuple(b["op"]), b["then"] and tuple(b["then"]))
            for b in content["buckets"]
        )
        return cls(**{**content, "gradients": gradients, "buckets": buckets})


def _gradient(content: Mapping[str, Any]) -> Gradient:
    kept = content["kept"] and Piece(tuple(content["kept"]["offset"]), tuple(content["kept"]["shape"]))
    changed = {"shape": tuple(content["shape"]), "ready_s": tuple(content["ready_s"]), "kept": kept}
    return Gradient(**{**content, **changed})


def ratio(spread: float | None, mean: float | None) -> float | None:
    """0 where nothing differs, also from a mean of 0."""
    if spread is None or mean is None:
        return None
    if spread == 0:
        return 0.0
    return spread / mean if mean else math.inf if spread == spread else math.nan
