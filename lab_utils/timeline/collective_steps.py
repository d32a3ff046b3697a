"""A collective chunk by chunk, step by step, as the ranks' recorded messages and notes tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lab_utils.timeline.chunk_log import ChunkLog
from lab_utils.timeline.chunk_replay import Parts
from lab_utils.timeline.trace import Trace

Effect = Literal["adds", "keeps", "mixes"]
Holding = tuple[Parts, ...]  # ((0, 1), (2,)): 0 and 1 added up, and beside them 2; fullest first


@dataclass(frozen=True, slots=True)
class Chunk:
    """Elements start .. stop - 1 of the parts of `ranks`, which are combined (one rank: copied), and go together."""

    ranks: tuple[int, ...]
    start: int
    stop: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Sent:
    """One recorded message of a step.

    chunks    which are in it, and parts[i]: whose parts were in chunks[i] when it left
    effect    the receiver "adds" it to what it has, or "keeps" what arrives, or "mixes" elements that are not the same
    other     elements in it that are of no chunk
    source    the sender's line
    """

    step: int
    src: int
    dst: int
    tag: int
    chunks: tuple[int, ...]
    parts: tuple[Holding, ...]
    effect: Effect
    other: int
    bytes: int
    source: str


@dataclass(frozen=True, slots=True)
class Result:
    """What came out on a rank: chunks that are complete, and all that is wrong, in words."""

    complete: tuple[int, ...]
    wrong: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChunkSteps:
    """What every rank held of every chunk before the first step and after each.

    chunks    runs of elements that had the same fate: nobody said where to cut
    sent      sent[k] = the messages of step k + 1
    holds     holds[k][rank][chunk] = whose parts had come together on that rank after k steps, a rank twice where its
              part was added twice. What is in something fuller is left out
    mixed     mixed[k][rank] = elements that were made of unlike elements
    results   for each rank what `flow.result` showed, None where nobody called it
    """

    chunks: tuple[Chunk, ...]
    sent: tuple[tuple[Sent, ...], ...]
    holds: tuple[tuple[tuple[Holding, ...], ...], ...]
    mixed: tuple[tuple[int, ...], ...]
    results: tuple[Result | None, ...]

    @classmethod
    def of(cls, trace: Trace, logs: Sequence[ChunkLog]) -> ChunkSteps:
        """ValueError unless there is one log of each rank, recorded in that trace; when no part was sent, or the
        parts fall into more chunks than can be drawn."""
        ranks = [getattr(log, "rank", None) for log in logs]
        if ranks != list(range(trace.world_size)):
            raise ValueError(
                f"the trace has ranks 0 to {trace.world_size - 1}, and the logs are of {ranks}: every rank's function "
                "returns flow.record(), and trace.results goes here as it is"
            )
        from lab_utils.timeline.chunk_join import Joined  # it makes what is defined here, so not at the top

        return Joined(trace, logs).steps()

    @property
    def world_size(self) -> int:
        return len(self.holds[0])

    @property
    def bytes_sent(self) -> list[int]:
        """By each rank, over all steps."""
        totals = [0] * self.world_size
        for sent in (sent for step in self.sent for sent in step):
            totals[sent.src] += sent.bytes
        return totals

    def complete(self, step: int, rank: int, chunk: int) -> bool:
        """Whether the chunk was all there on that rank after so many steps, each part once."""
        return self.chunks[chunk].ranks in self.holds[step][rank][chunk]
