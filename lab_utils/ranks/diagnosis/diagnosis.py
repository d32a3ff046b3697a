"""Diagnoses stuck ranks: which ranks wait in which op for which ranks, and which rule was broken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from lab_utils.comm.status.rank_state import IssuedOp, RankState, Stream, of_shape
from lab_utils.ranks.calls.cell_names import line_in_words, line_of
from lab_utils.ranks.diagnosis.dropped import Blocked, find_blocked
from lab_utils.ranks.diagnosis.wait_graph import NEVER, Mismatched, awaited, find_mismatch, has_ended, hopeless
from lab_utils.text import name_ranks, verb

_SAME_ORDER = "all ranks of a group make the same collectives in the same order"
_SAME_ELEMENTS = "all ranks bring the same number of elements, of one type, to a collective"
_SAME_MESSAGE = "the receiver takes as many elements as the sender gives, of the same type"
_KEEP = "keep what isend and irecv return, and call wait() on it"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why ranks wait.

    kind      "mismatch", "cycle", "unmatched", "left out", "dropped", "stopped" or "computing"
    ranks     ranks to look at: those that broke the rule or that others wait for; in a cycle, all of it
    sentence  the same on every run
    details   a line per group of ranks, with the source line they are at
    certain   none of the waiting ranks can ever go on
    """

    kind: str
    ranks: tuple[int, ...]
    sentence: str
    details: str
    certain: bool


def diagnose(rank_states: Mapping[int, RankState], fates: Mapping[int, str]) -> Diagnosis | None:
    """Return why ranks wait, from the state of each; None when no rank waits for another.

    fates   {rank: fate} of ranks on which the call is not simply running: "returned", "raised", "dead", "absent" (not
            asked to run), "stopped" (by a signal), "silent" (gave no answer)
    """
    waiting = {rank: s for rank, s in rank_states.items() if s.op is not None and fates.get(rank) not in NEVER}
    if not waiting:
        return None
    details = _details(rank_states, waiting)
    stuck = hopeless(rank_states, fates)
    if (found := find_mismatch(rank_states, waiting)) is not None and _matters(found, waiting, stuck):
        return Diagnosis("mismatch", found.odd, _mismatch(found), details, True)
    lacking = {rank: missing for rank in waiting if (missing := awaited(waiting[rank], rank_states))}
    if (blocked := find_blocked(rank_states, waiting.keys() - lacking.keys())) is not None and blocked.certain:
        return _behind(blocked, waiting, details)
    if not stuck:
        not_yet = _not_yet(waiting, lacking, rank_states, fates, details)
        return not_yet if not_yet is not None or blocked is None else _behind(blocked, waiting, details)
    ended = {r for rank in stuck for r in lacking[rank] if has_ended(r, rank_states, fates)}
    if not ended:  # all stuck ranks wait for stuck ranks
        circle = _circle(stuck, lacking)
        return Diagnosis("cycle", tuple(sorted(circle)), _cycle(circle, waiting), details, True)
    roots = [rank for rank in stuck if lacking[rank] & ended]
    rank = min(roots, key=lambda rank: (waiting[rank].op.side == "", rank))  # messages first: only two ranks
    never = lacking[rank] & (stuck | ended)
    return _never_comes(rank, stuck, waiting, never, fates, details)


def _matters(found: Mismatched, waiting: Mapping[int, RankState], stuck: set[int]) -> bool:
    """Whether a rank waits for ever because of this mismatch, rather than the program having got past it."""
    op = next(iter(found.ops.values()))
    return any(s.op.stream == op.stream and (rank in stuck or s.op.seq == op.seq) for rank, s in waiting.items())


# ---------------------------------------------------------------------- kinds
def _mismatch(found: Mismatched) -> str:
    groups = [ranks for ranks, _ in _grouped(found.ops, lambda op: f"{_called(op)} {op.signature}")]
    firsts = [found.ops[ranks[0]] for ranks in groups]
    if found.names_differ:
        parts = [f"{_are(r)} in {_called(op)}" for r, op in zip(groups, firsts, strict=True)]
        return f"{'; '.join(parts)}: {_SAME_ORDER}"
    rule = _SAME_MESSAGE if firsts[0].side else _SAME_ELEMENTS
    alike = len({_called(op) for op in firsts}) == 1
    parts = [
        f"{name_ranks(r)} {verb(len(r), 'bring')} {op.signature}" + ("" if alike else f" to {_called(op)}")
        for r, op in zip(groups, firsts, strict=True)
    ]
    return (f"in {_called(firsts[0])} " if alike else "") + f"{', '.join(parts)}: {rule}"


def _circle(stuck: set[int], lacking: Mapping[int, set[int]]) -> list[int]:
    """Return a cycle of ranks: each waits for the next, the last for the first."""
    path: list[int] = []
    rank = min(stuck)
    while rank not in path:
        path.append(rank)
        rank = min(lacking[rank] & stuck)
    return path[path.index(rank) :]


def _cycle(circle: list[int], waiting: Mapping[int, RankState]) -> str:
    first = circle.index(min(circle))
    turned = circle[first:] + circle[:first]
    parts = [
        f"rank {rank} in {_called(waiting[rank].op)}" + ("" if waiting[rank].op.side else f" for rank {after}")
        for rank, after in zip(turned, turned[1:] + turned[:1], strict=True)
    ]
    return f"{name_ranks(circle)} wait for each other in a circle: {', '.join(parts)}"


def _behind(blocked: Blocked, waiting: Mapping[int, RankState], details: str) -> Diagnosis:
    behind = f"{'' if blocked.certain else 'perhaps '}behind {_called(blocked.op)}"
    said = f"{_who(blocked.ranks, waiting)}, {behind}, which rank {blocked.dropper} did not wait for: {_KEEP}"
    return Diagnosis("dropped", (blocked.dropper,), said, details, blocked.certain)


def _never_comes(
    rank: int,
    stuck: set[int],
    waiting: Mapping[int, RankState],
    never: set[int],
    fates: Mapping[int, str],
    details: str,
) -> Diagnosis:
    op = waiting[rank].op
    together = sorted(r for r in stuck if (waiting[r].op.stream, waiting[r].op.seq) == (op.stream, op.seq))
    gone = tuple(sorted(never))
    why = "; ".join(_why(ranks, op, waiting, fates) for ranks in _by_fate(gone, waiting, fates))
    who = _who(together, waiting)
    kind = "unmatched" if op.stream.kind == "message" else "left out"
    return Diagnosis(kind, gone, f"{who}; {why}", details, True)


def _by_fate(ranks: Iterable[int], waiting: Mapping[int, RankState], fates: Mapping[int, str]) -> list[list[int]]:
    groups: dict[object, list[int]] = {}
    for rank in ranks:
        key = fates.get(rank) or (waiting[rank].op.stream, waiting[rank].op.seq, waiting[rank].op.source)
        groups.setdefault(key, []).append(rank)
    return list(groups.values())


def _why(ranks: list[int], op: IssuedOp, waiting: Mapping[int, RankState], fates: Mapping[int, str]) -> str:
    without = {"send": "receiving", "recv": "sending"}.get(op.side, "making it")
    fate = fates.get(ranks[0])
    if fate == "returned":
        return f"{name_ranks(ranks)} returned without {without}"
    if fate == "absent":
        return f"{name_ranks(ranks)} {verb(len(ranks), 'were')} not asked to run this"
    if fate in ("dead", "raised"):
        return f"{name_ranks(ranks)} {'died' if fate == 'dead' else 'raised'} before {without}"
    return f"{_are(ranks)} in {_called(waiting[ranks[0]].op)}, and that cannot end either"


def _not_yet(
    waiting: Mapping[int, RankState], lacking: Mapping[int, set[int]], rank_states: Mapping[int, RankState],
    fates: Mapping[int, str], details: str,
) -> Diagnosis | None:  # fmt: skip
    behind = {rank for rank, s in waiting.items() if not s.threads and rank not in fates}  # waiting or running
    late = sorted({r for missing in lacking.values() for r in missing} - behind)
    if not late:
        return None
    waiters = sorted(rank for rank, missing in lacking.items() if missing & set(late))
    who = _who(waiters, waiting)
    stopped = [rank for rank in late if fates.get(rank) == "stopped"]
    if stopped:
        said = f"{_are(stopped)} stopped by a signal, and SIGCONT lets {_it(stopped)} go on"
        return Diagnosis("stopped", tuple(stopped), f"{who}; {said}", details, False)
    doing = "; ".join(f"{_are(r)} {what}" for r, what in _computing(late, rank_states, fates))
    return Diagnosis("computing", tuple(late), f"{who}; {doing}", details, False)


def _computing(late: list[int], rank_states: Mapping[int, RankState], fates: Mapping[int, str]):
    def doing(rank: int) -> str:
        line = rank_states[rank].line if rank in rank_states else ""
        if fates.get(rank) in NEVER:
            return "gone" if fates[rank] == "dead" else "not running this and gives no answer"
        if fates.get(rank) == "silent" and not line:
            return "still in native code that answers nothing"
        return f"still computing ({line_in_words(line)})" if line else "still computing"

    return _grouped({rank: rank for rank in late}, doing)


# ---------------------------------------------------------------------- words
def _grouped(values: Mapping[int, object], words: Callable) -> list[tuple[list[int], str]]:
    """Return [(ranks, words)], ranks with equal words together, in rank order."""
    groups: dict[str, list[int]] = {}
    for rank in sorted(values):
        groups.setdefault(words(values[rank]), []).append(rank)
    return [(ranks, said) for said, ranks in groups.items()]


def _who(ranks: Iterable[int], waiting: Mapping[int, RankState]) -> str:
    in_ops = _grouped({rank: waiting[rank].op for rank in ranks}, _called)
    return "; ".join(f"{_are(r)} in {where}" for r, where in in_ops)


def _are(ranks: list[int]) -> str:
    return f"{name_ranks(ranks)} {verb(len(ranks), 'are')}"


def _it(ranks: list[int]) -> str:
    return "it" if len(ranks) == 1 else "them"


def _called(op: IssuedOp) -> str:
    """Return an op's name: "all_reduce #7 on world (train.py:41)", "recv #0 from rank 1 (train.py:8)"."""
    return f"{_title(op)} ({line_in_words(op.source)})" if op.source else _title(op)


def _title(op: IssuedOp, shape: str = "") -> str:
    what = f"{op.name} #{op.seq}{of_shape(shape)}"
    if op.side:
        source, destination = op.stream.peers
        other = f"to rank {destination}" if op.side == "send" else f"from rank {source}" if source >= 0 else "from any"
        return f"{what} {other}" + (f" with tag {op.stream.tag}" if op.stream.tag else "")
    return f"{what} on {op.stream.group}"


def _details(rank_states: Mapping[int, RankState], waiting: Mapping[int, RankState]) -> str:
    lines = []
    for ranks, said in _grouped({rank: s.op for rank, s in waiting.items()}, lambda op: _title(op, op.shape)):
        op = waiting[ranks[0]].op
        lines += [f"{_are(ranks)} in {said}: {op.source}", *_quoted(op.source)]
    for ranks, line in _grouped({r: s.line for r, s in rank_states.items() if r not in waiting and s.line}, str):
        lines += [f"{_are(ranks)} at {line}", *_quoted(line)]
    return "\n".join([*lines, *_first_difference(rank_states, waiting)])


def _quoted(source: str) -> list[str]:
    file, _, line = source.rpartition(":")
    text = line_of(file, int(line)) if line.isdigit() else ""
    return [f"    {text}"] if text else []


def _first_difference(rank_states: Mapping[int, RankState], waiting: Mapping[int, RankState]) -> list[str]:
    """Return a line on where the ranks' collectives on a group first differ, which is often where one was left out."""
    stream: Stream | None = next((s.op.stream for s in waiting.values() if s.op.stream.kind == "collective"), None)
    if stream is None:
        return []
    made = {r: {op.seq: op for op in s.recent if op.stream == stream} for r, s in rank_states.items()}
    for seq in sorted({seq for ops in made.values() for seq in ops}):
        ops = {rank: of[seq] for rank, of in made.items() if seq in of}
        if len({(op.name, op.source) for op in ops.values()}) > 1:
            said = "; ".join(
                f"{name_ranks(ranks)}: {what}" for ranks, what in _grouped(ops, lambda op: f"{op.name} ({op.source})")
            )
            return [f"the collectives on {stream.group} first differ at #{seq}: {said}"]
    return []
