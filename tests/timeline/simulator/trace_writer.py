"""Programs of several ranks, written op by op, as a recorder would see them: each rank counts for itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from slow_simulator import meeting_key

from lab_utils.timeline import Op, Trace


@dataclass(eq=False, slots=True)
class Planned:
    """An op that has no place in its rank's list yet; a wait knows what it waits for."""

    op: Op
    of: Planned | None = None

    @property
    def stream(self) -> tuple:
        """What it keeps its order on besides its rank: its group, or its messages."""
        return meeting_key(self.op)[:-1] if self.of is None and self.op.kind != "compute" else ()


class TraceWriter:
    """
    >>> program = TraceWriter(2)
    >>> program.compute(0, flops=1e9)
    >>> program.collective("all_reduce", "world", (0, 1), 4096)
    >>> program.trace()
    """

    def __init__(self, world_size: int) -> None:
        self.ranks: list[list[Planned]] = [[] for _ in range(world_size)]
        self._count: Counter[tuple] = Counter()

    def compute(self, rank: int, measured_s: float = 0.0, **counts: int) -> Planned:
        """counts: flops, bytes, other_bytes, kernels."""
        op = Op(rank, "compute", "compute", issue_s=0.0, done_s=measured_s, **{"kernels": 1, **counts})
        return self._add(Planned(op))

    def issue(
        self, rank: int, name: str, group: str, ranks: Sequence[int], size_bytes: int = 0, asynchronous: bool = False
    ) -> Planned:
        """One rank's side of the next collective of a group."""
        op = Op(rank, "collective", name, group, tuple(ranks), bytes=size_bytes, asynchronous=asynchronous)
        return self._counted(op)

    def collective(
        self,
        name: str,
        group: str,
        ranks: Sequence[int],
        size_bytes: int | Sequence[int] = 0,
        asynchronous: Iterable[int] = (),
    ) -> list[Planned]:
        """All sides of a collective; `asynchronous`: ranks that do not block on it. Sizes: one, or one for each."""
        sizes = [size_bytes] * len(ranks) if isinstance(size_bytes, int) else size_bytes
        later = set(asynchronous)
        return [
            self.issue(rank, name, group, ranks, size, rank in later) for rank, size in zip(ranks, sizes, strict=True)
        ]

    def message(
        self, kind: str, rank: int, peer: int, size_bytes: int = 0, tag: int = 0, asynchronous: bool = False
    ) -> Planned:
        """One side of the next message with this tag: kind is "send" or "recv"."""
        op = Op(rank, kind, kind, "world", peer=peer, bytes=size_bytes, tag=tag, asynchronous=asynchronous)
        return self._counted(op)

    def wait(self, of: Planned) -> Planned:
        return self._add(Planned(Op(of.op.rank, "wait", "wait"), of))

    def trace(self) -> Trace:
        return Trace(tuple(tuple(_placed(planned)) for planned in self.ranks))

    def _counted(self, op: Op) -> Planned:
        counter = op.rank, op.kind, meeting_key(op)[:-1]
        self._count[counter] += 1
        return self._add(Planned(replace(op, seq=self._count[counter] - 1)))

    def _add(self, planned: Planned) -> Planned:
        self.ranks[planned.op.rank].append(planned)
        return planned


def _placed(ops: list[Planned]) -> Iterable[Op]:
    index = {planned: at for at, planned in enumerate(ops)}
    return (planned.op if planned.of is None else replace(planned.op, of=index[planned.of]) for planned in ops)
