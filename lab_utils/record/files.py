"""Files that ranks of a recorded program write to the command's private folder. No torch here."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab_utils.host.cpu_times import CpuTimes, taken_by_others
from lab_utils.timeline.ops import Op, Phase
from lab_utils.timeline.trace import Trace

FOLDER, COUNT = "LAB_UTILS_RECORD", "LAB_UTILS_RECORD_COUNT"  # in the environment of the program's processes
_SUFFIX = ".rank"
# Set by torchrun and others; they tell apart two programs, or two attempts of one, with groups of one size.
_LAUNCH = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True)
class Left:
    """One rank's part of one world (a default group, from its forming to its end).

    world      key, equal for the ranks of a world
    ended      False: the process began to record and died before it could write
    compiled   it failed because kernels cannot be counted in code that torch.compile made
    together   torchrun started all of its world's ranks on this machine
    used       CPU times while it recorded; None where the system does not tell them
    """

    rank: int
    ranks: int
    process: int
    world: tuple
    ops: tuple[Op, ...] = ()
    phases: tuple[Phase, ...] = ()
    ended: bool = False
    compiled: bool = False
    together: bool = False
    used: CpuTimes | None = None

    @classmethod
    def begun(cls, rank: int, ranks: int, number: int, environ: Mapping[str, str]) -> Left:
        """Return the empty record that a rank writes first. `number` counts the worlds of this process."""
        launch = tuple(environ.get(name, "") for name in _LAUNCH)
        together = environ.get("LOCAL_WORLD_SIZE") == str(ranks)
        return cls(rank, ranks, os.getpid(), (ranks, *launch, number), together=together)

    def over(self, ops: list[Op], phases: list[Phase], compiled: bool, used: CpuTimes | None = None) -> Left:
        return replace(self, ops=tuple(ops), phases=tuple(phases), ended=True, compiled=compiled, used=used)

    def write(self, folder: str | Path) -> None:
        """Write the file atomically; it replaces the same process's file of the same world."""
        path = Path(folder) / f"{self.process}-{self.world[-1]}{_SUFFIX}"
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_bytes(pickle.dumps(self, pickle.HIGHEST_PROTOCOL))
        os.replace(unfinished, path)


def read(folder: Path) -> list[Left]:
    """Return what the ranks wrote, by process and world. Only for a private folder: it unpickles."""
    found = [pickle.loads(path.read_bytes()) for path in folder.glob(f"*{_SUFFIX}")]
    return sorted(found, key=lambda left: (left.process, left.world[-1]))


def note(folder: str | Path, trouble: str) -> None:
    """Write why this process is not recorded."""
    (Path(folder) / f"trouble-{os.getpid()}").write_text(trouble, encoding="utf-8")


def troubles(folder: Path) -> list[str]:
    """Return why processes were not recorded, without repetitions."""
    return sorted({path.read_text(encoding="utf-8") for path in folder.glob("trouble-*")})


# ---------------------------------------------------------------------- worlds
@dataclass(slots=True)
class World:
    """A default group that the program formed, and what its ranks recorded: {rank: Left}."""

    ranks: int
    left: dict[int, Left] = field(default_factory=dict)

    @property
    def trace(self) -> Trace:
        """Return the trace of all ranks. A rank without a file has no ops. One clock: the ranks ran on one machine."""
        sides = [self.left.get(rank) for rank in range(self.ranks)]
        trace = Trace.from_ranks(
            [() if side is None else side.ops for side in sides],
            [() if side is None else side.phases for side in sides],
            results=[],
        )
        used = [None if side is None else side.used for side in sides]
        return trace if None in used else replace(trace, others=taken_by_others(used))

    @property
    def is_empty(self) -> bool:
        return not any(side.ended for side in self.left.values())


def worlds(left: Iterable[Left]) -> list[World]:
    """Return the worlds in the order they began. A rank that occurs twice belongs to two successive worlds."""
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
