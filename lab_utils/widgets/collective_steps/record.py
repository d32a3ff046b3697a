"""What one rank notes while it works on a collective: where numbers went in its memory, and which were sent.

Made by lab_utils.widgets.collective_steps.probe on the ranks, put together by collective_steps in the notebook.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

NOTHING = -1  # the place of a number that comes from no rank's part: a constant, fresh memory

# Places in the rank's memory, one for each element, in the order of a tensor. All storages lie in one space, one
# after the other; a range where the tensor is contiguous.
Places = range | np.ndarray
Key = tuple[int | None, int | None, int, str, int]  # as trace.message_key


class Wrote(NamedTuple):
    """Element i of `target` is made of element i of each of `sources`; of nothing when there is none.

    how   "adds"    what a source holds twice is in it twice: add, copy
          "keeps"   it is not: maximum, minimum
          "mixes"   nobody knows which elements went where, a matrix product say
    """

    target: Places
    sources: tuple[Places, ...]
    how: Literal["adds", "keeps", "mixes"] = "adds"


class Posted(NamedTuple):
    """The rank hands over one end of a message: what is sent, or where it is to arrive."""

    end: Literal["send", "recv"]
    key: Key
    places: Places


class Over(NamedTuple):
    """The rank has waited for its end of that message."""

    end: Literal["send", "recv"]
    key: Key


@dataclass(frozen=True, slots=True, eq=False)
class ChunkLog:
    """One rank's notes, in the order in which it did things.

    places      how many there are in its memory
    itemsize    bytes of an element
    given       where its part lies: element i is the part's i-th
    result      where the result lies at the end, None when nobody said
    """

    rank: int
    itemsize: int
    places: int
    given: Places
    events: tuple[Wrote | Posted | Over, ...]
    result: Places | None = None


def as_places(found: Sequence[int] | np.ndarray) -> Places:
    """A range, where they follow one another: logs are sent to the notebook."""
    found = np.asarray(found, dtype=np.int64).reshape(-1)
    if len(found) and found[0] >= 0 and (np.diff(found) == 1).all():
        return range(int(found[0]), int(found[-1]) + 1)
    return found


def index_of(places: Places) -> slice | np.ndarray:
    """What numpy is indexed with to read those places."""
    return slice(places.start, places.stop) if isinstance(places, range) else places
