"""What a rank of a recorded program leaves in the command's private folder, and where. No torch here."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lab_utils.timeline.trace import Op, Phase

FOLDER, COUNT = "LAB_UTILS_RECORD", "LAB_UTILS_RECORD_COUNT"  # in the environment of the program's processes
_SUFFIX = ".rank"
# torchrun and its like: what differs between two programs, or two attempts of one, that form groups of one size.
_LAUNCH = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True)
class Left:
    """One rank's part of one world (default group, from its forming to its end).

    world      equal for the ranks of a world
    ended      False: the process began to record and was gone before it could write
    compiled   it ended with an error because kernels were to be counted in code that torch.compile made
    together   torchrun started all of its world's ranks on this machine
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

    @classmethod
    def begun(cls, rank: int, ranks: int, number: int, environ: Mapping[str, str]) -> Left:
        """What a rank leaves first. `number` counts the worlds of this process."""
        launch = tuple(environ.get(name, "") for name in _LAUNCH)
        together = environ.get("LOCAL_WORLD_SIZE") == str(ranks)
        return cls(rank, ranks, os.getpid(), (ranks, *launch, number), together=together)

    def over(self, ops: list[Op], phases: list[Phase], compiled: bool) -> Left:
        return replace(self, ops=tuple(ops), phases=tuple(phases), ended=True, compiled=compiled)

    def write(self, folder: str | Path) -> None:
        """Whole or not at all; what the same rank left of the same world before is replaced."""
        path = Path(folder) / f"{self.process}-{self.world[-1]}{_SUFFIX}"
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_bytes(pickle.dumps(self, pickle.HIGHEST_PROTOCOL))
        os.replace(unfinished, path)


def read(folder: Path) -> list[Left]:
    """What the ranks left, by process and world. Only files of a folder that nobody else can write to."""
    found = [pickle.loads(path.read_bytes()) for path in folder.glob(f"*{_SUFFIX}")]
    return sorted(found, key=lambda left: (left.process, left.world[-1]))


def note(folder: str | Path, trouble: str) -> None:
    """Why this process goes unrecorded."""
    (Path(folder) / f"trouble-{os.getpid()}").write_text(trouble, encoding="utf-8")


def troubles(folder: Path) -> list[str]:
    """Why processes went unrecorded, each reason once."""
    return sorted({path.read_text(encoding="utf-8") for path in folder.glob("trouble-*")})
