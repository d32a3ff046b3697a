"""Which groups ranks are in, and which of them all can form again. No torch here: the notebook hears of it too."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from dataclasses import dataclass
from typing import NoReturn


# How a wait in c10d's file store is ended from outside: the store is made unreadable.
def abort_rendezvous(store: str) -> None:
    """Put a link to itself in the store's place.

    A rank waits for a key by opening the file again and again. It goes on when there is none (another rank may be
    about to make it), but not from a link that leads nowhere but to itself.
    """
    folder, name = os.path.split(store)
    with tempfile.TemporaryDirectory(prefix="poison-", dir=folder) as own:
        loop = os.path.join(own, name)
        os.symlink(store, loop)
        os.replace(loop, store)


labels: Counter[str] = Counter()  # on a rank: how many groups of each name it has made


class Lost:
    """Stands where a group's backend was: whatever is asked of it raises RuntimeError with the reason."""

    def __init__(self, why: str):
        self._why = why

    def __getattr__(self, _: str) -> NoReturn:
        raise RuntimeError(self._why)


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of a rank that can be formed again, {label: members}, and how far it has counted its groups."""

    members: dict[str, tuple[int, ...]]
    counts: dict[str, int]  # {name: groups of that name so far}
    created: int


def agree(ranks: list[Groups]) -> Groups:
    """What all ranks can do: groups that each of their members still has, counts that no rank is ahead of.

    A rank in a new process has none: then only the world is formed again.
    """
    members = {
        label: group for each in ranks for label, group in each.members.items()
        if all(label in ranks[member].members for member in group)
    }  # fmt: skip
    counts = {label: max(each.counts.get(label, 0) for each in ranks) for each in ranks for label in each.counts}
    return Groups(members, counts, max(each.created for each in ranks))
