"""Chapter 03, code on real ranks: a step by hand, slots for activations, delayed W, a tied weight, any 1F1B."""

from __future__ import annotations

import re
from collections.abc import Callable

from lab_utils.exercises.ch03_pipeline.judge_code import examine_slots, examine_step, examine_tied, examine_weights
from lab_utils.exercises.ch03_pipeline.judge_orders import WHOLE, length, longest_pause
from lab_utils.exercises.framework.code import on_the_ranks
from lab_utils.exercises.framework.exercise import Exercise, Finding, NotYet
from lab_utils.exercises.framework.on_ranks import _does_nothing
from lab_utils.schedule import Draft, schedules, why_not
from lab_utils.schedule.ops import Unreadable

LAB_LINE = re.compile(r" \(on_ranks\w*\.py:\d+\)")
SIZES = ((2, 4), (3, 4), (4, 8), (4, 2), (1, 3), (5, 1), (8, 32))  # (ranks, microbatches) for my_order


def on_stages(examine: Callable[..., Finding | None]) -> Callable[..., Finding | NotYet | None]:
    """As `on_the_ranks`, with the lab's own source lines removed from the sentences."""
    judge = on_the_ranks(examine)

    def judged(*answers: object) -> Finding | NotYet | None:
        found = judge(*answers)
        if not isinstance(found, Finding):
            return found
        return Finding(tuple(LAB_LINE.sub("", sentence) for sentence in found.sentences))

    return judged


# ---------------------------------------------------------------------- 03.13
def judge_order(function: object) -> Finding | NotYet | None:
    """Judge the reader's `my_order(rank, ranks, microbatches)` in the notebook: 1F1B for any sizes, m < p included."""
    if not callable(function):
        return Finding((f"give the function itself: check('03.13', my_order), and not {type(function).__name__}",))
    if hasattr(function, "__code__") and _does_nothing(function):
        return NotYet()
    for ranks, microbatches in SIZES:
        try:
            found = _asked(function, ranks, microbatches)
        except NotImplementedError:
            return NotYet()
        except Exception as error:  # raised by the reader's code: reported
            return Finding((f"for {_sizes(ranks, microbatches)} my_order raised {type(error).__name__}: {error}",))
        if found:
            return found
    return None


def _asked(function: Callable, ranks: int, microbatches: int) -> Finding | None:
    orders = [function(rank, ranks, microbatches) for rank in range(ranks)]
    if strange := [rank for rank, order in enumerate(orders) if not isinstance(order, str | list | tuple)]:
        name = type(orders[strange[0]]).__name__
        return Finding((f"{name} came back for rank {strange[0]}: return its ops, such as 'F0 BW0' or ['F0', 'BW0']",))
    words = [order.split() if isinstance(order, str) else list(order) for order in orders]
    if complaint := _complaint(words, ranks, microbatches):
        return Finding((f"for {_sizes(ranks, microbatches)}: {complaint[0]}", *complaint[1:]))
    return None


def _complaint(words: list[list[str]], ranks: int, microbatches: int) -> tuple[str, ...]:
    if strange := [word for order in words for word in order if not isinstance(word, str)]:
        return (f"{strange[0]!r} is no op: write 'F0' or 'BW0'",)
    try:
        order = Draft.of("yours", words, ranks)
    except Unreadable as wrong:
        return (str(wrong),)
    if order.microbatches > microbatches:
        return (f"there is no micro-batch {order.microbatches - 1}: they are counted from 0",)
    order = Draft.of("yours", words, ranks, microbatches)
    named = schedules.one_f_one_b(ranks, microbatches)
    if wrong := why_not(order, limit=named.peak_activations):
        return (wrong,)
    late = length(order, WHOLE) - length(named, WHOLE)
    return (f"it ends {late:g} later than 1F1B (F 1, BW 2)", longest_pause(order, WHOLE)) if late > 1e-9 else ()


def _sizes(ranks: int, microbatches: int) -> str:
    return f"{ranks} rank{'s' * (ranks > 1)} and {microbatches} micro-batch{'es' * (microbatches > 1)}"


def _explain_order() -> str:
    asked = ", ".join(f"{p} × {m}" for p, m in SIZES)
    return (
        "it runs, holds what 1F1B holds and ends when 1F1B ends, for all sizes asked "
        f"(ranks × micro-batches: {asked})\n"
        "Warm-up min(p - r - 1, m) forwards, then one forward and one backward in turn, then the backwards that are "
        "left. With fewer micro-batches than ranks there is no middle part, and the order is GPipe's."
    )


# ---------------------------------------------------------------------- the others
def _explain_step() -> str:
    return (
        "every stage's gradients equal serial's in float64\n"
        "backward adds to .grad, once for each micro-batch. Each loss is a mean over its own micro-batch, so it weighs "
        "1/m in the batch's mean: divided once, on the last rank, where the loss is. All else is linear, so the "
        "factor goes back through the stages by itself."
    )


def _explain_slots() -> str:
    return (
        "every backward has its own forward's activations, and no rank keeps more than it needs\n"
        "In 1F1B rank r has p - r micro-batches under way, so p - r slots are enough, and each is free again just "
        "when the next forward wants it. That is 1F1B's memory, in code: fewer slots and gradients go wrong without "
        "any error, more and the memory is wasted."
    )


def _explain_weights() -> str:
    return (
        "the gradients of inputs and weights equal serial's, on every rank\n"
        "A W that waits needs its own micro-batch's input and its own gradient. A function that is made in a loop "
        "looks a name up when it is called, and then the loop is over: each must get its values when it is made, as "
        "default arguments, by functools.partial, or kept in a list."
    )


def _explain_tied() -> str:
    return (
        "both copies of the weight have the sum of the two parts, so they stay equal\n"
        "In serial training backward adds both uses up in one .grad. Cut in two, each stage has one of them, and a sum "
        "over the first and the last rank brings them together. Forget it on one side, and the copies drift apart "
        "with each update, while the loss still falls."
    )


_MEND = "Mend the function, run its cell again, then this one."

EXERCISES = (
    Exercise(
        "03.9",
        "A pipeline by send and receive, one stage a rank, GPipe's order. What is wrong with its gradients?",
        _MEND,
        ("compare one gradient with serial's: what factor?", "each micro-batch's loss is a mean: over what?"),
        on_stages(examine_step),
        _explain_step,
    ),
    Exercise(
        "03.10",
        "1F1B keeps activations in slots that are used again and again. How many slots does each rank need?",
        _MEND,
        (
            "which forwards run before the first backward, on rank 0 and on the last rank?",
            "how many micro-batches are under way behind rank r at most, its own included?",
        ),
        on_stages(examine_slots),
        _explain_slots,
    ),
    Exercise(
        "03.11",
        "B runs at once, and W is put off until all B are done. Which input and which gradient does each W get?",
        _MEND,
        ("when does Python look up the names in the body of a lambda?", "what are they when the loop is over?"),
        on_stages(examine_weights),
        _explain_weights,
    ),
    Exercise(
        "03.12",
        "The first stage embeds with the weight that the last one makes logits with. What becomes of its gradient?",
        _MEND,
        ("what does each of the two ranks have in .grad, and what has serial training there?", "who tells whom?"),
        on_stages(examine_tied),
        _explain_tied,
    ),
    Exercise(
        "03.13",
        "Write my_order(rank, ranks, microbatches): a rank's ops under 1F1B, such as 'F0 BW0 F1 BW1', for any sizes.",
        "Replace the body by yours, run its cell, then this one.",
        (
            "how many forwards come before the first backward on the last rank, and on the one before it?",
            "what if there are fewer micro-batches than that?",
        ),
        judge_order,
        _explain_order,
    ),
)
