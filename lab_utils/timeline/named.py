"""Things by name, where a name that is not there is told in one sentence, with those that may have been meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

V = TypeVar("V")
_AT_MOST = 4


class UnknownName(KeyError):
    """A name that is not there; its text names those that are."""

    __str__ = Exception.__str__  # KeyError would show a sentence in quotes


class Named(dict[str, V]):
    """A dict whose `[name]` raises UnknownName.

    >>> Named("schedule", {"gpipe": ...})["pipe"]
    UnknownName: no schedule is named 'pipe': did you mean 'gpipe'?
    """

    def __init__(self, kind: str, entries: Mapping[str, V]) -> None:
        super().__init__(entries)
        self._kind = kind

    def __missing__(self, name: object) -> V:
        raise UnknownName(f"no {self._kind} is named {name!r}: {meant(name, self)}")


def meant(name: object, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: "did you mean 'H100 node'?", or all the names there are."""
    known = list(known)
    if alike := _alike(str(name).lower(), known):
        return f"did you mean {' or '.join(map(repr, alike))}?"
    return f"there are {', '.join(known)}"


def _alike(name: str, known: list[str]) -> list[str]:
    """Names that hold this one, whatever the case; else those spelled much like it."""
    holding = [each for each in known if name and name in each.lower()]
    lower = {each.lower(): each for each in known}
    return holding[:_AT_MOST] or [lower[each] for each in get_close_matches(name, lower, _AT_MOST)]
