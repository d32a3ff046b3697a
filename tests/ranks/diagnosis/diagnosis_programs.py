"""Small programs of ranks and a machine that runs them one action at a time: what really ends, and what never does.

The machine matches ops as gloo does. A collective ends when all members have posted it; a send ends when its receive
is posted; a receive takes the first message that fits, one from any source whichever was posted first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lab_utils.comm.status.rank_state import ANY_SOURCE, IssuedOp, RankState, Stream


@dataclass(frozen=True)
class Step:
    """What a rank does next. kind: "collective", "send", "recv", "compute", "for ever" (computing) or "raise"."""

    kind: str
    name: str = ""
    ranks: tuple[int, ...] = ()
    peer: int = 0
    elements: int = 4
    waits: bool = True
    source: str = "train.py:1"


Program = Mapping[int, Sequence[Step]]


def collective(ranks: Iterable[int], name: str = "all_reduce", **more) -> Step:
    return Step("collective", name, tuple(ranks), **more)


def send(peer: int, **more) -> Step:
    return Step("send", "send", peer=peer, **more)


def recv(peer: int, **more) -> Step:
    return Step("recv", "recv", peer=peer, **more)


COMPUTE, FOR_EVER, RAISE = Step("compute"), Step("for ever"), Step("raise")


@dataclass(eq=False)
class _Post:
    """One side of a message. What it was matched with is its partner."""

    rank: int
    peer: int
    partner: _Post | None = None


@dataclass
class _Rank:
    """state: "ready" for its next step, "in" an op, or how it ended: "returned", "raised", "for ever", "absent"."""

    steps: Sequence[Step]
    state: str = "ready"
    done: int = 0
    op: IssuedOp | None = None
    post: _Post | None = None
    issued: dict[tuple[Stream, str], int] = field(default_factory=lambda: defaultdict(int))
    recent: list[IssuedOp] = field(default_factory=list)


class Machine:
    """Runs a program; `move(rank)` is one action of a rank: to come to its next op, or to go on behind one."""

    def __init__(self, program: Program, absent: Iterable[int] = ()):
        self.ranks = {rank: _Rank(steps, "absent" if rank in absent else "ready") for rank, steps in program.items()}
        self._came: dict[tuple[Stream, int], dict[int, tuple[str, str]]] = defaultdict(dict)
        self._brought: dict[tuple[Stream, int], str] = {}
        self._posts: dict[str, list[_Post]] = {"send": [], "recv": []}
        self.differed = False  # ranks brought different things to one op

    # ------------------------------------------------------------------ running
    def movable(self) -> list[int]:
        return [n for n, r in self.ranks.items() if r.state == "ready" or (r.state == "in" and self._ended(r))]

    def move(self, number: int) -> None:
        rank = self.ranks[number]
        if rank.state == "in":
            self._go_on(rank)
        elif rank.done == len(rank.steps):
            rank.state = "returned"
        elif (step := rank.steps[rank.done]).kind == "compute":
            rank.done += 1
        elif step.kind in ("for ever", "raise"):
            rank.state = "raised" if step.kind == "raise" else step.kind
        else:
            self._come_to(number, rank, step)

    def run(self, choose: Callable[[list[int]], int] = min) -> Machine:
        """To where nobody can move. `choose` picks who moves next."""
        while movable := self.movable():
            self.move(choose(movable))
        return self

    def _ended(self, rank: _Rank) -> bool:
        if rank.post is not None:
            return rank.post.partner is not None
        return self._came[rank.op.stream, rank.op.seq].keys() == set(rank.op.ranks)

    def _go_on(self, rank: _Rank, waited: bool = True) -> None:
        if waited and ANY_SOURCE in rank.op.stream.peers:
            self._number_by_source(rank)
        rank.state, rank.op, rank.post, rank.done = "ready", None, None, rank.done + 1

    def _come_to(self, number: int, rank: _Rank, step: Step) -> None:
        stream = self._stream(number, step)
        side = step.kind if stream.peers else ""
        op = self._issue(rank, stream, side, step, tuple(sorted(self.ranks)) if side else step.ranks)
        rank.state, rank.op = "in", op
        if self._differs(number, op):
            rank.state, self.differed = "raised", True
            return
        if side:
            rank.post = self._post(number, step)
        else:
            self._came[stream, op.seq][number] = op.name, op.signature
        if not step.waits:
            self._go_on(rank, waited=False)

    def _stream(self, number: int, step: Step) -> Stream:
        if step.kind != "collective":
            return Stream("message", "world", (number, step.peer) if step.kind == "send" else (step.peer, number))
        whole = len(step.ranks) == len(self.ranks)
        return Stream("collective", "world" if whole else f"group {','.join(map(str, step.ranks))}")

    def _issue(self, rank: _Rank, stream: Stream, side: str, step: Step, ranks: tuple[int, ...]) -> IssuedOp:
        seq = rank.issued[stream, side]
        rank.issued[stream, side] += 1
        signature = f"float32 x {step.elements}" if side else f"sum float32 x {step.elements}"
        op = IssuedOp(stream, seq, step.name, side, ranks, signature, f"[{step.elements}]", step.source)
        rank.recent.append(op)
        return op

    def _differs(self, number: int, op: IssuedOp) -> bool:
        """Ranks compare what they bring before they hand it over, all but receives from any source."""
        if ANY_SOURCE in op.stream.peers:
            return False
        if not op.side:
            return any(brought != (op.name, op.signature) for brought in self._came[op.stream, op.seq].values())
        return self._brought.setdefault((op.stream, op.seq), op.signature) != op.signature

    # ------------------------------------------------------------------ messages
    def _post(self, number: int, step: Step) -> _Post:
        post = _Post(number, step.peer)
        for other in self._posts["recv" if step.kind == "send" else "send"]:
            source, destination = (post, other) if step.kind == "send" else (other, post)
            fits = source.peer == destination.rank and destination.peer in (source.rank, ANY_SOURCE)
            if other.partner is None and fits:
                post.partner, other.partner = other, post
                break
        self._posts[step.kind].append(post)
        return post

    def _number_by_source(self, rank: _Rank) -> None:
        """A receive that took whichever message came counts, from when it has been waited for, as one of its source."""
        source, number = rank.post.partner.rank, rank.op.stream.peers[1]
        stream = rank.op.stream._replace(peers=(source, number))
        at = rank.recent.index(rank.op)
        rank.recent[at] = replace(rank.op, stream=stream, seq=rank.issued[stream, "recv"])
        rank.issued[stream, "recv"] += 1

    # ------------------------------------------------------------------ seen from outside
    def rank_states(self) -> dict[int, RankState]:
        return {number: _standing(number, rank) for number, rank in self.ranks.items()}

    def fates(self) -> dict[int, str]:
        return {n: r.state for n, r in self.ranks.items() if r.state in ("returned", "raised", "absent")}

    def computing(self) -> set[int]:
        return {n for n, r in self.ranks.items() if r.state == "for ever"}

    def blocked(self) -> dict[int, int]:
        """{rank: its step} of the ranks that are in an op which has not ended."""
        return {n: r.done for n, r in self.ranks.items() if r.state == "in" and not self._ended(r)}


def _standing(number: int, rank: _Rank) -> RankState:
    state = {"absent": "idle", "returned": "idle"}.get(rank.state, "computing" if rank.op is None else "in")
    line = "" if state == "idle" else rank.op.source if rank.op else "train.py:99"
    return RankState(number, state, 0.0, rank.op, line, 0, False, dict(rank.issued), tuple(rank.recent))
