"""Metrics of a trace that need no clock: message rounds and bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from lab_utils.text import numbered
from lab_utils.timeline.ops import Op, RankOps, message_key, waited_for

MESSAGES = ("send", "recv")


def message_rounds(trace: RankOps) -> int:
    """Length of the longest chain of dependent messages, with a rank in one exchange at a time.

    A send leaves one round after the round that its rank had reached at issue. After waiting for a send or recv, a
    rank is at least one round past the round at which it issued it, and at least at the round of the message. So a
    wait does not delay what was issued before it: exchanges issued together take one round. Ring all-reduce over
    n ranks: 2(n - 1); binomial tree, reduce then broadcast: 2 ceil(log2 n). Collectives count 0 and carry no
    chain, nor does a recv whose send is not in the trace.

    ValueError when ranks receive in a circle, so that no order of the messages exists.
    """
    sent_in_trace = {message_key(op) for op in trace if op.kind == "send"}
    left_at: dict[tuple, int] = {}
    walks = [_Walk(ops, sent_in_trace) for ops in trace.ops]
    take_turns(walks, lambda walk: walk.advance(left_at))
    return max([*left_at.values(), *(walk.round for walk in walks)], default=0)


class Unfinished(Protocol):
    """One rank's walk through what it did."""

    @property
    def finished(self) -> bool: ...


W = TypeVar("W", bound=Unfinished)


def take_turns(walks: Sequence[W], advance: Callable[[W], bool]) -> None:
    """Advance the ranks' walks in turn until all are finished; `advance` returns whether there was any progress.

    ValueError if ranks wait for each other's messages in a circle.
    """
    waiting, stuck = deque(walks), 0
    while waiting and stuck < len(waiting):
        walk = waiting.popleft()
        moved = advance(walk)
        if not walk.finished:
            waiting.append(walk)
        stuck = 0 if moved or walk.finished else stuck + 1
    if waiting:
        ranks = numbered("rank", [rank for rank, walk in enumerate(walks) if not walk.finished])
        raise ValueError(f"{ranks} wait for each other's messages in a circle: no order exists")


class _Walk:
    """Position of one rank in its ops, advanced as far as the messages it waits for have been sent."""

    def __init__(self, ops: tuple[Op, ...], sent_in_trace: set[tuple]) -> None:
        self.ops = ops
        self.sent_in_trace = sent_in_trace
        self.position = 0
        self.round = 0
        self.issued_at: dict[tuple, int] = {}

    @property
    def finished(self) -> bool:
        return self.position == len(self.ops)

    def advance(self, left_at: dict[tuple, int]) -> bool:
        """Advance to the next wait for an unsent message. Return whether the rank moved."""
        first = self.position
        while not self.finished and self._pass(self.ops[self.position], left_at):
            self.position += 1
        return self.position > first

    def _pass(self, op: Op, left_at: dict[tuple, int]) -> bool:
        """Process one op; False when it waits for a message that has not been sent yet."""
        if op.kind in MESSAGES:
            self.issued_at[_end(op)] = self.round
        if op.kind == "send":
            left_at[message_key(op)] = self.round + 1
        over = self._over_after(op)
        if over is None:
            return True
        if message_key(over) not in left_at:
            return False
        self.round = max(self.round, self.issued_at[_end(over)] + 1, left_at[message_key(over)])
        return True

    def _over_after(self, op: Op) -> Op | None:
        """The send or recv that has completed once `op` is done; None if none, or if its send is not in the trace."""
        over = waited_for(self.ops, op) if op.kind == "wait" else op
        if over is None or over.kind not in MESSAGES or (op is over and op.asynchronous):
            return None
        return over if message_key(over) in self.sent_in_trace else None


def _end(op: Op) -> tuple:
    return op.kind, message_key(op)


def bytes_sent(trace: RankOps) -> list[int]:
    """Bytes sent per rank with `send`, in rank order (collectives are not included)."""
    return [sum(op.bytes for op in ops if op.kind == "send") for ops in trace.ops]
