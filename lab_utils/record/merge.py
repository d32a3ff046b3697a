"""What the ranks left, joined: a Trace for each world that the program formed, and what is missing from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lab_utils.record.left import Left
from lab_utils.timeline.trace import Trace

_ELSEWHERE = ", or ran on another machine: only the ranks of this one are recorded, since others have other clocks"


@dataclass(slots=True)
class World:
    """A default group that the program formed, and what each of its ranks left."""

    ranks: int
    left: dict[int, Left] = field(default_factory=dict)

    @property
    def trace(self) -> Trace:
        """A rank that left nothing has no ops. Times are of one clock: the ranks ran on one machine."""
        sides = [self.left.get(rank) for rank in range(self.ranks)]
        return Trace.from_ranks(
            [() if side is None else side.ops for side in sides],
            [() if side is None else side.phases for side in sides],
            results=[],
        )

    @property
    def is_empty(self) -> bool:
        return not any(side.ended for side in self.left.values())

    def complaints(self) -> list[str]:
        """One sentence for each thing that is missing, with the mend."""
        gone = [side for side in self.left.values() if not side.ended]
        said = [
            f"Rank {side.rank} of {self.ranks} (process {side.process}) left nothing: it was killed, or ended by "
            "os._exit; call torch.distributed.destroy_process_group() before that."
            for side in sorted(gone, key=lambda side: side.rank)
        ]
        if away := [str(rank) for rank in range(self.ranks) if rank not in self.left]:
            elsewhere = "" if any(side.together for side in self.left.values()) else _ELSEWHERE
            said.append(f"{_ranks(away)} of {self.ranks} left nothing: ended before the group was formed{elsewhere}.")
        if compiled := [str(side.rank) for side in self.left.values() if side.compiled]:
            said.append(
                f"{_ranks(compiled)} stopped at code that torch.compile made, whose kernels cannot be counted "
                "(flex_attention and torch.cond compile by themselves): record again with --no-count."
            )
        return said


def _ranks(numbers: Sequence[str]) -> str:
    return ("Rank " if len(numbers) == 1 else "Ranks ") + ", ".join(numbers)


def worlds(left: Iterable[Left]) -> list[World]:
    """In the order in which they began. A rank that comes twice is of two worlds, one after the other."""
    found: dict[tuple, list[World]] = {}
    for side in left:
        same = found.setdefault(side.world, [])
        if not same or side.rank in same[-1].left:
            same.append(World(side.ranks))
        same[-1].left[side.rank] = side
    return sorted((world for same in found.values() for world in same), key=_began_s)


def _began_s(world: World) -> float:
    starts = [op.issue_s for side in world.left.values() for op in side.ops[:1]]
    return min(starts, default=float("inf"))
