"""The groups that ranks are in, and those that all can form again. No torch here: the notebook uses it too."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from dataclasses import dataclass
from typing import NoReturn


# Making c10d's file store unreadable ends a wait in it from outside.
def abort_rendezvous(store: str) -> None:
    """Replace the store by a symbolic link to itself.

    A rank waits for a key by opening the file again and again. It retries when the file does not exist (another rank
    may be about to create it), but fails on a link that points to itself.
    """
    folder, name = os.path.split(store)
    with tempfile.TemporaryDirectory(prefix="poison-", dir=folder) as own:
        loop = os.path.join(own, name)
        os.symlink(store, loop)
        os.replace(loop, store)


labels: Counter[str] = Counter()  # on a rank: how many groups, or models on one, of each name it has created


class Lost:
    """Takes the place of a group's backend: every attribute access raises RuntimeError with the reason."""

    def __init__(self, why: str):
        self._why = why

    def __getattr__(self, _: str) -> NoReturn:
        raise RuntimeError(self._why)


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of a rank that can be formed again, {label: members}, and its counters of groups.

    unfinished  names of what a failure may have left half done on these groups, to be made anew on all ranks
    """

    members: dict[str, tuple[int, ...]]
    counts: dict[str, int]  # {name: groups of that name so far}
    created: int
    unfinished: frozenset[str] = frozenset()


def agree(ranks: list[Groups]) -> Groups:
    """Return what all ranks can form: groups that all their members still have, counts that no rank is ahead of.

    A rank in a new process has none: then only the world is formed again.
    """
    members = {
        label: group for each in ranks for label, group in each.members.items()
        if all(label in ranks[member].members for member in group)
    }  # fmt: skip
    counts = {label: max(each.counts.get(label, 0) for each in ranks) for each in ranks for label in each.counts}
    unfinished = frozenset().union(*(each.unfinished for each in ranks))
    return Groups(members, counts, max(each.created for each in ranks), unfinished)
