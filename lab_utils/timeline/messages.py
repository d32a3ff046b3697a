"""What a trace says without any clock: how many message steps it needs, and how many bytes it moves."""

from __future__ import annotations

from collections import deque

from lab_utils.timeline.ops import Op, RankOps, message_key, waited_for

MESSAGES = ("send", "recv")


def message_steps(trace: RankOps) -> int:
    """Longest chain of messages that wait for one another, where a rank is in one exchange at a time.

    A send leaves one step after what its rank had waited for when it issued it. Having waited for a send or
    a receive, a rank is at least one step on from where it issued it, and not before the step of the message.
    So what is issued before a wait is not delayed by it: exchanges issued together take one step. Ring
    all-reduce over n ranks: 2(n - 1); binomial tree, reduce then broadcast: 2 ceil(log2 n). Collectives count
    nothing and carry no chain, and neither does a recv whose send the trace does not hold.

    ValueError when ranks receive in a circle, so that no order of the messages exists.
    """
    sent_in_trace = {message_key(op) for op in trace if op.kind == "send"}
    left_at: dict[tuple, int] = {}
    walks = [_Walk(ops, sent_in_trace) for ops in trace.ops]
    waiting = deque(walks)
    stuck = 0
    while waiting and stuck < len(waiting):
        walk = waiting.popleft()
        moved = walk.advance(left_at)
        if not walk.finished:
            waiting.append(walk)
        stuck = 0 if moved or walk.finished else stuck + 1
    if waiting:
        ranks = ", ".join(str(rank) for rank, walk in enumerate(walks) if not walk.finished)
        raise ValueError(f"ranks {ranks} wait for each other's messages in a circle: no order exists")
    return max([*left_at.values(), *(walk.step for walk in walks)], default=0)


class _Walk:
    """One rank's way through its ops, as far as the messages it waits for have been sent."""

    def __init__(self, ops: tuple[Op, ...], sent_in_trace: set[tuple]) -> None:
        self.ops = ops
        self.sent_in_trace = sent_in_trace
        self.position = 0
        self.step = 0
        self.issued_at: dict[tuple, int] = {}

    @property
    def finished(self) -> bool:
        return self.position == len(self.ops)

    def advance(self, left_at: dict[tuple, int]) -> bool:
        """Walk on to the next message that has not been sent yet. False when that is the very next op."""
        first = self.position
        while not self.finished and self._pass(self.ops[self.position], left_at):
            self.position += 1
        return self.position > first

    def _pass(self, op: Op, left_at: dict[tuple, int]) -> bool:
        """Go over one op; False when it waits for a message that has not been sent yet."""
        if op.kind in MESSAGES:
            self.issued_at[_end(op)] = self.step
        if op.kind == "send":
            left_at[message_key(op)] = self.step + 1
        over = self._over_after(op)
        if over is None:
            return True
        if message_key(over) not in left_at:
            return False
        self.step = max(self.step, self.issued_at[_end(over)] + 1, left_at[message_key(over)])
        return True

    def _over_after(self, op: Op) -> Op | None:
        """The send or recv that the rank has behind it after `op`; None if none that the trace knows of."""
        over = waited_for(self.ops, op) if op.kind == "wait" else op
        if over is None or over.kind not in MESSAGES or (op is over and op.asynchronous):
            return None
        return over if message_key(over) in self.sent_in_trace else None


def _end(op: Op) -> tuple:
    return op.kind, message_key(op)


def bytes_sent(trace: RankOps) -> list[int]:
    """Bytes that each rank gave to its sends, in rank order (what collectives move is not among them)."""
    return [sum(op.bytes for op in ops if op.kind == "send") for ops in trace.ops]


def bytes_by_collective(trace: RankOps) -> dict[str, list[int]]:
    """Name of a collective → bytes that each rank gave to the collectives of that name, in rank order.

    This is the size of the tensors, not the traffic: an all_reduce of b bytes over a ring sends 2(n-1)/n b.
    """
    found: dict[str, list[int]] = {}
    for op in trace:
        if op.kind == "collective":
            found.setdefault(op.name, [0] * trace.world_size)[op.rank] += op.bytes
    return found
