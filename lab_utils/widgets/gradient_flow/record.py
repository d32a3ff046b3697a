"""The record of one backward: each rank's gradients, their buckets, and which rank keeps which piece."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

OpKey = tuple[str, int]  # group and seq of a collective, as in `Trace.collectives()`
Kind = Literal["parameter", "input", "output"]


@dataclass(frozen=True, slots=True)
class Piece:
    """The box of a tensor that a rank holds: its offset and size in each dim."""

    offset: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Gradient:
    """A gradient on one rank. A field is None if the rank could not know it or no other rank holds the piece.

    kind          of a parameter, or of a pipeline stage's input or output
    shape         of the whole parameter over all ranks; of an input or output: of one micro-batch
    bytes         of the gradient that this rank computed, before any reduction; over all micro-batches
    ready_s       when it was accumulated, once per backward in the block (`origin_s`' clock)
    norm_before   Euclidean norm of this rank's own gradient, before any reduction; `norm_after` of what it kept
    mean_before   norm of the mean over the ranks that hold the same piece; `spread_before` this rank's distance from it
    mean_after    the same after the reduction, if several ranks keep the same piece
    kept          the piece that this rank keeps (ZeRO, FSDP, tensor parallel); None if it keeps all
    owner         the rank whose optimizer updates it, if one rank does so for all (ZeRO 1)
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
    kept: Piece | None = None
    owner: int | None = None
    kind: Kind = "parameter"

    @property
    def share(self) -> float:
        """The fraction of the parameter whose gradient this rank keeps."""
        whole = math.prod(self.shape)
        return 1.0 if self.kept is None or not whole else math.prod(self.kept.shape) / whole


@dataclass(frozen=True, slots=True)
class Bucket:
    """Gradients that are reduced as one op.

    bytes   that a rank passes to the op
    how     source of its gradients: "DDP", "FSDP", "announced" by the code that reduces them, or "sizes" (by bytes)
    op      the op in the trace; None if it was not recorded
    then    the all-reduce of its result over the replicas (hybrid sharding), if there is one
    """

    names: tuple[str, ...]
    bytes: int
    how: str
    op: OpKey | None = None
    then: OpKey | None = None

    @property
    def ops(self) -> tuple[OpKey, ...]:
        """The ops that were recorded."""
        return tuple(key for key in (self.op, self.then) if key is not None)


@dataclass(frozen=True, slots=True)
class FlowRecord:
    """One rank's backward. Times are on the rank's own clock; `origin_s` is the start of its recording, if any.

    `gradients` are in the order of the model's parameters.
    """

    rank: int
    began_s: float
    ended_s: float
    origin_s: float | None
    gradients: tuple[Gradient, ...]
    buckets: tuple[Bucket, ...] = ()


def ratio(spread: float | None, mean: float | None) -> float | None:
    """Return spread / mean, and 0 for a spread of 0 even if the mean is 0."""
    if spread is None or mean is None:
        return None
    if spread == 0:
        return 0.0
    return spread / mean if mean else math.inf if spread == spread else math.nan
