"""What the ranks did: for each rank an ordered list of ops, and which ops of other ranks each depends on.

A Trace carries no picture and needs no torch. Recorded ops also carry the wall clock of the ranks that
ran them; `Trace.timeline()` places them in time with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lab_utils.timeline.summary import trace_summary

if TYPE_CHECKING:
    from lab_utils.timeline.hardware import Hardware
    from lab_utils.timeline.lowered import Lowered
    from lab_utils.timeline.timeline import Timeline

Kind = Literal["compute", "collective", "send", "recv", "wait"]
COMMUNICATION = ("collective", "send", "recv")
FORMAT = "lab_utils trace 1"


@dataclass(frozen=True, slots=True)
class Op:
    """One op of one rank, in the order in which the rank's own thread came to it.

    kind        compute | collective | send | recv | wait
    name        what the user would call it: "all_reduce", "send", "compute"
    group       name of the process group; `ranks` are its members as global ranks
    seq         n-th collective of its group, or n-th message from `rank` to `peer` (or back) with `tag`;
                collectives with equal (group, seq) are one collective, seen from each rank
    bytes       size of the tensors that this rank gave to the op; what it got, where it gave none (recv, scatter);
                of a compute op: what its kernels with FLOPs read and wrote
    flops       of a compute op, as its kernels' shapes tell (a multiply-add is 2)
    other_bytes of a compute op: what its kernels without FLOPs read and wrote
    kernels     of a compute op: how many kernels ran, apart from those
    uncounted   of which nobody knows what they did: those of some tensors cannot be counted
    live_bytes  of a compute op: what live tensors of the rank held at its end, None when nobody counted
    peak_bytes  and the most they held within it
    stage       of a pipeline's compute op: which stage, and of which micro-batch
    peer, tag   the other rank (global) of a send or recv, and its tag
    of          index, in this rank's list, of the asynchronous op that a wait waits for
    source      the caller's line: "train.py:41", "In [5]:3"
    phase       innermost named phase that the op was issued in
    issue_s     when the rank came to the op (seconds since the trace's start)
    wait_s      when the rank began to block on it; None when it never did
    done_s      when it was complete
    """

    rank: int
    kind: Kind
    name: str
    group: str = ""
    ranks: tuple[int, ...] = ()
    seq: int = 0
    bytes: int = 0
    flops: int = 0
    peer: int | None = None
    tag: int = 0
    asynchronous: bool = False
    of: int | None = None
    source: str = ""
    phase: str = ""
    issue_s: float | None = None
    wait_s: float | None = None
    done_s: float | None = None
    other_bytes: int = 0
    kernels: int = 0
    stage: int | None = None
    microbatch: int | None = None
    live_bytes: int | None = None
    peak_bytes: int | None = None
    uncounted: int = 0


@dataclass(frozen=True, slots=True)
class Phase:
    """A named stretch of one rank's time: "forward", "aggregate". Phases may nest."""

    rank: int
    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True, repr=False)
class Trace:
    """Ops and phases of every rank; `results` holds what the recorded function returned, in rank order."""

    ops: tuple[tuple[Op, ...], ...]
    phases: tuple[tuple[Phase, ...], ...] = ()
    results: list[Any] = field(default_factory=list, compare=False, repr=False)

    @property
    def world_size(self) -> int:
        return len(self.ops)

    def __iter__(self) -> Iterator[Op]:
        """Every op, rank by rank."""
        for rank_ops in self.ops:
            yield from rank_ops

    def __repr__(self) -> str:
        return trace_summary(self)

    def collectives(self) -> dict[tuple[str, int], list[Op]]:
        """(group, seq) → that collective as each of its ranks saw it."""
        found: dict[tuple[str, int], list[Op]] = {}
        for op in self:
            if op.kind == "collective":
                found.setdefault((op.group, op.seq), []).append(op)
        return found

    def messages(self) -> dict[tuple[int, int, int, str, int], dict[str, Op]]:
        """`message_key` → {"send": op, "recv": op}, either may be missing."""
        found: dict[tuple[int, int, int, str, int], dict[str, Op]] = {}
        for op in self:
            if op.kind in ("send", "recv"):
                found.setdefault(message_key(op), {})[op.kind] = op
        return found

    def timeline(self, hardware: Hardware | None = None) -> Timeline:
        """This trace placed in time: by the wall clock of the ranks that ran it, or as it would be on some hardware.

        ValueError when an op carries no time and no hardware is given; when hardware is given and an op's partner
        is not in the trace, or ranks wait for each other in a circle.
        """
        from lab_utils.timeline.measured import measured  # they read Trace, so not at the top
        from lab_utils.timeline.predicted import simulate

        return measured(self) if hardware is None else simulate(self, hardware)

    @cached_property
    def lowered(self) -> Lowered:
        """This trace as the simulator takes it."""
        from lab_utils.timeline.lowered import lower

        return lower(self)

    def save(self, path: str | Path) -> None:
        """Write everything but the results as JSON."""
        content = {
            "format": FORMAT,
            "ops": [[asdict(op) for op in rank_ops] for rank_ops in self.ops],
            "phases": [[asdict(phase) for phase in rank_phases] for rank_phases in self.phases],
        }
        Path(path).write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """Read what `save` wrote. ValueError when the file is something else, OSError when there is none to read."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"there is no file {path}: trace.save writes one, and so does python -m lab_utils record"
            ) from error
        except IsADirectoryError as error:
            raise IsADirectoryError(f"{path} is a folder: name the file in it that trace.save wrote") from error
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is no trace, or only a part of one: {error}") from error
        said = content.get("format") if isinstance(content, dict) else None
        if said != FORMAT:
            holds = "something else" if said is None else repr(said)
            raise ValueError(f"{path} holds {holds}, and this version reads {FORMAT!r}, which trace.save writes")
        try:
            ops = tuple(
                tuple(Op(**{**op, "ranks": tuple(op["ranks"])}) for op in rank_ops) for rank_ops in content["ops"]
            )
            phases = tuple(tuple(Phase(**phase) for phase in rank_phases) for rank_phases in content["phases"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} was changed since trace.save wrote it: {type(error).__name__} {error}") from error
        return cls(ops, phases)

    @classmethod
    def from_ranks(cls, ops: Iterable[Sequence[Op]], phases: Iterable[Sequence[Phase]], results: list[Any]) -> Trace:
        """Join what each rank recorded; times become seconds since the first rank began."""
        ops, phases = [list(o) for o in ops], [list(p) for p in phases]
        times = [op.issue_s for rank_ops in ops for op in rank_ops if op.issue_s is not None]
        times += [phase.start_s for rank_phases in phases for phase in rank_phases]
        zero = min(times, default=0.0)
        return cls(
            tuple(tuple(_shifted_op(op, zero) for op in rank_ops) for rank_ops in ops),
            tuple(
                tuple(replace(p, start_s=p.start_s - zero, end_s=p.end_s - zero) for p in rank_phases)
                for rank_phases in phases
            ),
            results,
        )


def message_key(op: Op) -> tuple[int | None, int | None, int, str, int]:
    """(source rank, destination rank, tag, group, seq): equal for a send and the recv of its message."""
    source, destination = (op.rank, op.peer) if op.kind == "send" else (op.peer, op.rank)
    return source, destination, op.tag, op.group, op.seq


def waited_for(ops: Sequence[Op], wait: Op) -> Op | None:
    """The op among its rank's `ops` that `wait` waits for; None when it was issued before the trace began.

    ValueError when `of` names no communication op.
    """
    if wait.of is None:
        return None
    if not 0 <= wait.of < len(ops) or ops[wait.of].kind not in COMMUNICATION:
        raise ValueError(
            f"a wait of rank {wait.rank} is for op {wait.of}, which is no communication op "
            f"among the {len(ops)} ops of that rank"
        )
    return ops[wait.of]


def _shifted_op(op: Op, zero: float) -> Op:
    def moved(t: float | None) -> float | None:
        return None if t is None else t - zero

    return replace(op, issue_s=moved(op.issue_s), wait_s=moved(op.wait_s), done_s=moved(op.done_s))
