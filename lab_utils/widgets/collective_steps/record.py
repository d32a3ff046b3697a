"""One rank's log of a collective: where numbers moved in its memory, and which were sent.

Recorded by probe.py on the ranks, joined by rounds.py in the notebook.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

NOTHING = -1  # place of a number from no rank's part: a constant, fresh memory

# Places in the rank's memory, one per element, in the order of a tensor; a range if the tensor is contiguous.
# All storages share one address space, one after the other.
Places = range | np.ndarray
Key = tuple[int | None, int | None, int, str, int]  # as timeline.ops.message_key


class Wrote(NamedTuple):
    """A write: element i of `target` is computed from element i of each of `sources`, or of none.

    how   "adds"    parts in several sources count several times: add, copy
          "keeps"   they count once: maximum, minimum
          "mixes"   which elements went where is unknown, as in a matrix product
    """

    target: Places
    sources: tuple[Places, ...]
    how: Literal["adds", "keeps", "mixes"] = "adds"


class Posted(NamedTuple):
    """The rank posted a send or receive, with the places to send from or receive into."""

    end: Literal["send", "recv"]
    key: Key
    places: Places


class Over(NamedTuple):
    """The rank has waited for its send or receive of that message."""

    end: Literal["send", "recv"]
    key: Key


@dataclass(frozen=True, slots=True, eq=False)
class ChunkLog:
    """One rank's log, in the order of execution.

    places      number of places in its memory
    itemsize    bytes per element
    given       places of its part, element by element
    result      places of the result at the end, None if not set
    """

    rank: int
    itemsize: int
    places: int
    given: Places
    events: tuple[Wrote | Posted | Over, ...]
    result: Places | None = None


def as_places(found: Sequence[int] | np.ndarray) -> Places:
    """Return consecutive places as a range, to keep logs small: they are sent to the notebook."""
    found = np.asarray(found, dtype=np.int64).reshape(-1)
    if len(found) and found[0] >= 0 and (np.diff(found) == 1).all():
        return range(int(found[0]), int(found[-1]) + 1)
    return found


def index_of(places: Places) -> slice | np.ndarray:
    """Return the numpy index of those places."""
    return slice(places.start, places.stop) if isinstance(places, range) else places
