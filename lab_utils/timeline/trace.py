"""Traces: the ordered ops of every rank, and which ops of other ranks each depends on.

Needs no torch. Recorded ops also carry their rank's wall clock, by which `Trace.timeline()` places them in time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab_utils.text import bytes_text, columns, counted
from lab_utils.timeline.export import words
from lab_utils.timeline.ops import Op, Phase, RankOps, Rise

if TYPE_CHECKING:
    from lab_utils.timeline.hardware import Hardware
    from lab_utils.timeline.simulator.trace_to_streams import Lowered
    from lab_utils.timeline.timeline import Timeline

FORMAT = "lab_utils trace 1"


@dataclass(frozen=True, repr=False)
class Trace(RankOps):
    """Ops and phases of every rank; `results` holds what the recorded function returned, in rank order."""

    def __repr__(self) -> str:
        return _summary(self)

    def timeline(self, hardware: Hardware | None = None) -> Timeline:
        """Place this trace in time: by the wall clock of its ranks, or predicted for `hardware`.

        ValueError without hardware when an op carries no time; with hardware when an op's partner is not in the
        trace, or ranks wait for each other in a circle.
        """
        # Imported lazily: every rank loads this file at its start.
        from lab_utils.timeline.measured import measured
        from lab_utils.timeline.simulator.simulate import simulate

        return measured(self) if hardware is None else simulate(self, hardware)

    @cached_property
    def lowered(self) -> Lowered:
        """This trace as the simulator's program, cached."""
        from lab_utils.timeline.simulator.trace_to_streams import lower

        return lower(self)

    def save(self, path: str | Path) -> None:
        """Write ops, phases and whether the machine was busy, not the results, as JSON."""
        content = {
            "format": FORMAT,
            "ops": [[asdict(op) for op in rank_ops] for rank_ops in self.ops],
            "phases": [[asdict(phase) for phase in rank_phases] for rank_phases in self.phases],
            "others": self.others,
        }
        Path(path).write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """Read a file that `save` wrote. ValueError when it holds something else, OSError when it cannot be read."""
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
            ops = tuple(tuple(map(_read_op, rank_ops)) for rank_ops in content["ops"])
            phases = tuple(tuple(Phase(**phase) for phase in rank_phases) for rank_phases in content["phases"])
            taken = content.get("others")  # traces saved before do not tell
            others = None if taken is None else (float(taken[0]), int(taken[1]))
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{path} was changed since trace.save wrote it: {type(error).__name__} {error}") from error
        return cls(ops, phases, others=others)

    @classmethod
    def from_ranks(cls, ops: Iterable[Sequence[Op]], phases: Iterable[Sequence[Phase]], results: list[Any]) -> Trace:
        """Join the records of all ranks; times become seconds since the first rank began."""
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


def _read_op(op: dict[str, Any]) -> Op:
    rises = tuple(Rise(*rise) for rise in op.get("rises", ()))  # traces saved before these have none
    return Op(**{**op, "ranks": tuple(op["ranks"]), "rises": rises})


def _shifted_op(op: Op, zero: float) -> Op:
    def moved(t: float | None) -> float | None:
        return None if t is None else t - zero

    return replace(op, issue_s=moved(op.issue_s), wait_s=moved(op.wait_s), done_s=moved(op.done_s))


def _summary(trace: Trace) -> str:
    """Table of the ops, with count and tensor bytes per rank. Deterministic."""
    names = dict.fromkeys(op.name for op in trace if op.kind not in ("compute", "wait"))
    rows = [(name, *_per_rank(trace, name)) for name in names]
    title = (words.TRACE if rows else words.NOTHING_SENT).format(ranks=counted(trace.world_size, "rank"))
    others = dict.fromkeys((op.name, op.run_as) for op in trace if op.run_as)
    said = [words.RUN_AS.format(name=name, run_as=run_as) for name, run_as in others]
    uncounted = sum(op.uncounted for op in trace)
    said += [words.NOT_COUNTED.format(count=uncounted)] if uncounted else []
    table = columns([words.TRACE_COLUMNS, *rows], str.rjust, str.rjust) if rows else []
    return "\n".join([title, *table, *said])


def _per_rank(trace: Trace, name: str) -> tuple[str, str]:
    found = [[op.bytes for op in ops if op.name == name and op.kind != "wait"] for ops in trace.ops]
    return _spread([str(len(sizes)) for sizes in found]), _spread([bytes_text(sum(sizes)) for sizes in found])


def _spread(values: list[str]) -> str:
    """One value if all ranks have the same, otherwise all of them in rank order."""
    return values[0] if len(set(values)) == 1 else ", ".join(values)
