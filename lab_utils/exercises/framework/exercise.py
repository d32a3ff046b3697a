"""The Exercise class, and the results of its judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

from lab_utils.exercises.framework.card import Card


class WrongCall(TypeError):
    """`check` was called with wrong arguments. A notebook shows only the message, not the lab's stack trace."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The errors that a judge found, as sentences, the most specific first."""

    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotYet:
    """Nothing to judge yet, with the reason if it is not obvious: a missing function, or a stub."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class Exercise:
    """An exercise as data.

    goal      the question, one sentence
    replace   what the reader has to replace, and by what
    hints     from vague to explicit, without the answer
    judge     judge(*answers, **given) → None when right, else Finding or NotYet
    explain   explain(**given) → text shown once the answer is right, with the arithmetic
    given     names of further arguments besides the answer, such as the number of parameters
    """

    id: str
    goal: str
    replace: str
    hints: tuple[str, ...]
    judge: Callable[..., Finding | NotYet | None]
    explain: Callable[..., str]
    given: tuple[str, ...] = field(default=())

    def check(self, *answers: Any, **given: Any) -> Card:
        """Return the card for these answers. TypeError when an argument in `given` is missing."""
        if not answers or any(answer is ... for answer in answers):
            return self._open("")
        self._need(given)
        self._take(answers, given)
        found = self.judge(*answers, **given)
        if isinstance(found, NotYet):
            return self._open(found.why)
        if found is None:
            return self.solution(**given)
        return Card(self.id, "wrong", found.sentences[0], found.sentences[1:], self.hints)

    def solution(self, **given: Any) -> Card:
        """Return the card with the explanation, as shown for a right answer."""
        self._need(given)
        first, *rest = self.explain(**given).splitlines()
        return Card(self.id, "right", first, tuple(rest))

    def _open(self, why: str) -> Card:
        return Card(self.id, "open", self.goal, ((why,) if why else ()) + (self.replace,))

    def _take(self, answers: tuple[Any, ...], given: dict[str, Any]) -> None:
        asked = signature(self.judge)
        try:
            asked.bind(*answers, **given)
        except TypeError:
            names = ", ".join(name for name in asked.parameters if name not in given)
            raise WrongCall(f'call it as check("{self.id}", {names})') from None

    def _need(self, given: dict[str, Any]) -> None:
        if set(given) != set(self.given):
            wanted = ", ".join(f"{name}=..." for name in self.given) or "nothing besides the answer"
            raise WrongCall(f"exercise {self.id} needs {wanted}, and was given {', '.join(given) or 'nothing more'}")
