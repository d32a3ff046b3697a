"""Ops as recorded while a rank runs, and the compute between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from lab_utils.timeline.ops import Rise

if TYPE_CHECKING:
    from lab_utils.comm.recorder.clock import Moment
    from lab_utils.comm.status.rank_state import Channel


class Counts(NamedTuple):
    """What kernels did in a stretch of compute.

    bytes, other_bytes       read and written by kernels that have FLOPs, and by the others
    live_bytes, peak_bytes   held by live tensors at its end, and at most; None when not counted
    uncounted                kernels whose work is unknown
    rises                    how the live bytes rose to their peak
    """

    flops: int = 0
    bytes: int = 0
    other_bytes: int = 0
    kernels: int = 0
    live_bytes: int | None = None
    peak_bytes: int | None = None
    uncounted: int = 0
    rises: tuple[Rise, ...] = ()


NOTHING = Counts()


@dataclass(slots=True, eq=False)
class PendingOp:
    """An op being recorded; becomes an `Op` when the recording ends.

    asynchronous    the caller asked for it, or did not say and has not waited inside c10d
    on_device       its tensors are on a GPU, so a stream determines when it is done
    inferred        a wait inside autograd; whether and how long it blocked is inferred from its op
    channel         what numbers the op; None for a wait
    run_as          the collective that runs in its place, "" when it runs itself
    signature       what must match on all participating ranks
    came_s          when the rank reached it, recorded or not
    """

    kind: str
    name: str
    group: str = ""
    ranks: tuple[int, ...] = ()
    seq: int = 0
    bytes: int = 0
    shape: str = ""
    peer: int | None = None
    tag: int = 0
    asynchronous: bool = True
    on_device: bool = False
    channel: Channel | None = None
    run_as: str = ""
    signature: str = ""
    of: PendingOp | None = None
    inferred: bool = False
    source: str = ""
    came_s: float = 0.0
    phase: str = ""
    issue_s: Moment = 0.0
    wait_s: Moment | None = None
    done_s: Moment | None = None
    counts: Counts = NOTHING

    def set_done(self, at: Moment) -> None:
        """Set the completion time once: the rank's own thread or a backend thread may be first."""
        if self.done_s is None:
            self.done_s = at


class Computing(NamedTuple):
    """The compute between two ops; created once per op, so kept small."""

    phase: str
    issue_s: Moment
    done_s: Moment
    counts: Counts
