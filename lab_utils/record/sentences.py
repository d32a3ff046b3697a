"""What `lab_utils record` says about a program: what was recorded, what is missing, and what to do about it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab_utils.record.files import World
from lab_utils.text import bytes_text, numbered
from lab_utils.timeline.trace import Trace

NO_PROGRAM = "no program is given: write it after --, as in record -- torchrun --nproc-per-node 4 train.py"
NOTHING = "Nothing is recorded: no process of the program formed a torch.distributed group that can be recorded."
_ELSEWHERE = ", or ran on another machine: only the ranks of this one are recorded, since others have other clocks"


def not_started(program: str, why: str) -> str:
    """Return why the program cannot be started."""
    return f"{program} cannot be started: {why}."


def outlived(processes: Sequence[int]) -> str:
    """Return which processes had to be ended."""
    return f"Processes that outlived the program were ended: {', '.join(map(str, processes))}."


def not_recorded(trouble: str) -> str:
    """Return why one of the program's processes is not in the trace."""
    return f"A process could not be recorded: {trouble}."


def ended(program: Sequence[str], status: int) -> str:
    """Return how the program ended."""
    return f"{shlex.join(program)} ended with status {status}."


def written(trace: Trace, path: Path) -> str:
    """Return what is in the file, and how it is opened."""
    return f'{trace}\nwritten to {path} ({bytes_text(path.stat().st_size)}): Trace.load("{path}") opens it.'


def missing(world: World) -> Iterator[str]:
    """Yield a sentence for each thing that the world's trace lacks, with the fix."""
    for side in sorted(world.left.values(), key=lambda side: side.rank):
        if not side.ended:
            yield (
                f"Rank {side.rank} of {world.ranks} (process {side.process}) left nothing: it was killed, or ended by "
                "os._exit; call torch.distributed.destroy_process_group() before that."
            )
    if away := [rank for rank in range(world.ranks) if rank not in world.left]:
        elsewhere = "" if any(side.together for side in world.left.values()) else _ELSEWHERE
        yield f"{numbered('Rank', away)} of {world.ranks} left nothing: ended before the group was formed{elsewhere}."
    if compiled := [side.rank for side in world.left.values() if side.compiled]:
        yield (
            f"{numbered('Rank', compiled)} stopped at code that torch.compile made, whose kernels cannot be counted "
            "(flex_attention and torch.cond compile by themselves): record again with --no-count."
        )
