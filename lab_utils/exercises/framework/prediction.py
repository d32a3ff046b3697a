"""Predict, then reveal: the reader's numbers are kept, and stand beside the right ones and the run's afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from lab_utils.exercises.framework import words
from lab_utils.exercises.framework.card import Card, look
from lab_utils.exercises.framework.exercise import Exercise, WrongCall
from lab_utils.exercises.framework.judge_numbers import Numeric, as_number, one_by_one
from lab_utils.exercises.framework.words import Prediction as say
from lab_utils.render.palette import THEME_QUIET_INK
from lab_utils.text import columns, three_digits

_kept: dict[str, tuple[float, ...]] = {}  # per exercise, as long as the notebook's kernel lives


def predict(exercise: Exercise, *answers: object) -> Card:
    """Keep the reader's numbers and return a card that repeats them, without a verdict; `...` keeps none."""
    judge, answers = _judge(exercise), one_by_one(answers)
    if not answers or any(answer is ... for answer in answers):
        _kept.pop(exercise.id, None)
        return Card(exercise.id, "open", exercise.goal, (exercise.replace,))
    if wrong_count := judge.wrong_count(answers):
        raise WrongCall(wrong_count)
    numbers = dict(zip(judge.names, map(as_number, answers), strict=True))
    for name, answer in zip(judge.names, answers, strict=True):
        if numbers[name] is None:
            raise WrongCall(words.Number.strange.format(name=name, answer=answer))
    _kept[exercise.id] = tuple(numbers.values())
    said = ", ".join(f"{name} {three_digits(number)}" for name, number in numbers.items())
    return Card(exercise.id, "kept", say.kept.format(said=said), (say.below,))


def reveal(
    exercise: Exercise, measured: Sequence[float] = (), simulated: Sequence[float] = (), **given: object
) -> Revealed:
    """Return the reader's numbers beside the right ones, and those that the ranks or the simulator gave.

    measured    on the ranks: one per number that is asked for, in that order; none: no column
    simulated   the same from a predicted timeline, a schedule or a virtual clock
    """
    judge = _judge(exercise)
    exercise.need(given)
    wanted = judge.numbers(**given)[0]
    found = {head: numbers for head, numbers in ((say.measured, measured), (say.simulated, simulated)) if numbers}
    for head, numbers in found.items():
        if len(numbers) != len(wanted):
            raise WrongCall(say.count.format(id=exercise.id, given=len(numbers), asked=len(wanted), head=head))
    mine = _kept.get(exercise.id)
    own = [say.none] * len(wanted) if mine is None else map(three_digits, mine)
    listed = [["", *judge.names], [say.mine, *own], [say.right, *(three_digits(each.right) for each in wanted)]]
    listed += [[head, *map(three_digits, numbers)] for head, numbers in found.items()]
    lines = [say.no_prediction] if mine is None else judge(*mine, **given) or [say.as_predicted]
    return Revealed(exercise.id, tuple(zip(*listed, strict=True)), tuple(lines), mine is not None)


@dataclass(frozen=True, slots=True)
class Revealed:
    """A table of numbers and what the misses usually mean; without a prediction folded, and left out of text."""

    exercise: str
    table: tuple[tuple[str, ...], ...]
    lines: tuple[str, ...]
    is_open: bool

    def __repr__(self) -> str:
        table = columns(self.table, str.ljust, str.rjust) if self.is_open else ()
        return "\n".join([self.exercise, *table, *self.lines])

    def _repr_html_(self) -> str:
        head, *rows = self.table
        named = '<th scope="col" style="text-align:right">{}</th>'
        cells = "".join(named.format(escape(cell)) if cell else "<td></td>" for cell in head)
        body = "".join(
            f'<tr><th scope="row" style="text-align:left">{escape(name)}</th>'
            + "".join(f'<td style="text-align:right">{escape(cell)}</td>' for cell in row)
            + "</tr>"
            for name, *row in rows
        )
        lines = "".join(f'<div style="color:{THEME_QUIET_INK}">{escape(line)}</div>' for line in self.lines)
        summary, is_open = escape(say.fold.format(exercise=self.exercise)), " open" if self.is_open else ""
        table = f"<table><tr>{cells}</tr>{body}</table>"
        return f'<details{is_open} style="{look()}"><summary>{summary}</summary>{table}{lines}</details>'


def _judge(exercise: Exercise) -> Numeric:
    if not isinstance(exercise.judge, Numeric):
        raise WrongCall(say.no_numbers.format(id=exercise.id))
    return exercise.judge
