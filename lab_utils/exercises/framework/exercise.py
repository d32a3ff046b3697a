"""The Exercise class, and the results of its judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

from lab_utils.exercises.framework.card import Card
from lab_utils.exercises.framework.words import Call as say


class WrongCall(TypeError):
    """`check`, `predict`, `reveal` or `solution` was called with wrong arguments.

    A notebook shows only the message, not the lab's stack trace.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


@dataclass(frozen=True, slots=True)
class NotYet:
    """Nothing to judge yet, with the reason if it is not obvious: a missing function, or a stub."""

    why: str = ""


Judged = Sequence[str] | NotYet


@dataclass(frozen=True, slots=True)
class Exercise:
    """An exercise as data.

    words     its class in the chapter's catalogue
    judge     judge(*answers, **given) → sentences on what is wrong, the most specific first, or NotYet
    values    values(**given) → values of the explanation's template, besides `sizes`
    sizes     values of all other templates of its card
    given     names of further arguments besides the answer, such as the number of parameters
    """

    id: str
    words: type
    judge: Callable[..., Judged]
    values: Callable[..., Mapping[str, Any]] = dict
    sizes: Mapping[str, Any] = field(default_factory=dict)
    given: tuple[str, ...] = ()

    @property
    def goal(self) -> str:
        return self.words.goal.format(**self.sizes)

    @property
    def replace(self) -> str:
        return self.words.replace.format(**self.sizes)

    @property
    def hints(self) -> tuple[str, ...]:
        return self.words.hints

    def check(self, *answers: Any, **given: Any) -> Card:
        """Return the card for these answers. TypeError when an argument in `given` is missing."""
        if not answers or any(answer is ... for answer in answers):
            return self._open("")
        self.need(given)
        self._take(answers, given)
        found = self.judge(*answers, **given)
        if isinstance(found, NotYet):
            return self._open(found.why)
        if not found:
            return self.solution(**given)
        return Card(self.id, "wrong", found[0], tuple(found[1:]), self.hints)

    def solution(self, **given: Any) -> Card:
        """Return the card with the explanation, as shown for a right answer."""
        self.need(given)
        first, *rest = self.words.explain.format(**self.sizes, **self.values(**given)).splitlines()
        return Card(self.id, "right", first, tuple(rest))

    def _open(self, why: str) -> Card:
        return Card(self.id, "open", self.goal, ((why,) if why else ()) + (self.replace,))

    def _take(self, answers: tuple[Any, ...], given: dict[str, Any]) -> None:
        asked = signature(self.judge)
        try:
            asked.bind(*answers, **given)
        except TypeError:
            names = ", ".join(name for name in asked.parameters if name not in given)
            raise WrongCall(say.arguments.format(id=self.id, names=names)) from None

    def need(self, given: Mapping[str, Any]) -> None:
        """Raise WrongCall unless these are the further arguments that the exercise needs."""
        if set(given) != set(self.given):
            wanted = ", ".join(f"{name}=..." for name in self.given) or say.only_the_answer
            raise WrongCall(say.needs.format(id=self.id, wanted=wanted, given=", ".join(given) or say.nothing_more))
