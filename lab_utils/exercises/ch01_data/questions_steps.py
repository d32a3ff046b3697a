"""Chapter 01, further: overlap communication with the backward, accumulate, shuffle, and weight uneven shards."""

from __future__ import annotations

from lab_utils.exercises.ch01_data.judge_shuffling import examine_order
from lab_utils.exercises.ch01_data.judge_weights import examine_accumulate, examine_gradients, sizes_of
from lab_utils.exercises.framework.code import on_the_ranks
from lab_utils.exercises.framework.exercise import Exercise
from lab_utils.exercises.framework.numeric import Quantity, numeric

RANKS = 4
BACKWARD_MS, BUCKETS = 80.0, 4
FAST_MS, SLOW_MS = 12.0, 30.0  # per bucket on the wire


def exposed_ms(wire_ms: float, buckets: int = BUCKETS) -> float:
    """Exposed communication after the backward: a bucket is sent when it is full and the wire is free."""
    free_ms = 0.0
    for number in range(1, buckets + 1):
        free_ms = max(free_ms, BACKWARD_MS * number / buckets) + wire_ms
    return free_ms - BACKWARD_MS


def _overlap() -> list[Quantity]:
    flat, fast, slow = BUCKETS * FAST_MS, exposed_ms(FAST_MS), exposed_ms(SLOW_MS)
    seconds = "give milliseconds"
    return [
        Quantity(
            "one flat message",
            flat,
            (
                (0.0, "it can leave only when the last gradient is there"),
                (FAST_MS, "that is a quarter of the gradients"),
                (BACKWARD_MS + flat, "that is the backward, too: how long after its end?"),
                (flat / 1e3, seconds),
            ),
        ),
        Quantity(
            "four buckets",
            fast,
            (
                (0.0, "the last bucket is full only when the backward ends"),
                (flat, "that is one flat message: the first three buckets leave earlier"),
                (flat - fast, "those three are hidden, each while the next one is filled: what is not?"),
                (fast / 1e3, seconds),
            ),
        ),
        Quantity(
            "four buckets, slow wire",
            slow,
            (
                (SLOW_MS, "the last bucket finds the wire busy: are the ones before it through?"),
                (BUCKETS * SLOW_MS, "that is one flat message: the wire is at work during the backward, too"),
                (BUCKETS * SLOW_MS - BACKWARD_MS, "the wire has nothing to do until the first bucket is full"),
                (0.0, "the last bucket is full only when the backward ends"),
                (slow / 1e3, seconds),
            ),
        ),
    ]


def _explain_overlap() -> str:
    fill = BACKWARD_MS / BUCKETS
    return (
        f"flat {BUCKETS} · {FAST_MS:g} = {BUCKETS * FAST_MS:g} ms; in buckets {exposed_ms(FAST_MS):g} ms; "
        f"on the slow wire {exposed_ms(SLOW_MS):g} ms\n"
        f"A bucket fills in {fill:g} ms. On the fast wire it is back before the next is full, so only the last one is "
        f"seen. On the slow wire they queue: the first leaves at {fill:g} ms, all are back at {fill:g} + "
        f"{BUCKETS} · {SLOW_MS:g} = {fill + BUCKETS * SLOW_MS:g} ms, and {BACKWARD_MS:g} ms of that is backward.\n"
        "At best the last bucket and nothing else is exposed; at worst everything but what fits into the backward "
        "after the first bucket."
    )


def _explain_accumulate() -> str:
    return (
        "the batch's gradients from micro-batches, and one aggregation\n"
        "backward adds to .grad. Each micro-batch's loss is a mean over b blocks, the shard's over m · b: m gradients "
        "add up to m times the shard's, so each loss (or the sum) is divided by m. The mean over ranks is taken once, "
        "since the mean of sums is the sum of means."
    )


def _explain_order() -> str:
    return (
        "over an epoch each block is read once, by one rank; the next epoch has another order\n"
        "Ranks share out one shuffled row only if all of them have the same row: the seed may depend on the epoch, and "
        "not on the rank. With seeds of their own, a block is in none of 4 independent quarters with probability "
        "(3/4)⁴ = 0.32: a third of the text would be left out of every epoch, and no number in the log shows it."
    )


def _explain_gradients() -> str:
    sizes = sizes_of(RANKS)
    weights = ", ".join(f"{RANKS} · {size}/{sum(sizes)}" for size in sizes)
    return (
        "the batch's gradients, from shards of different sizes\n"
        f"With b of the batch's B blocks on a rank, its loss weighs n b / B in a mean over n ranks: {weights} on this "
        "check's ranks. Where all b are equal, that is 1, which is why nobody notices until the last batch of an epoch."
    )


EXERCISES = (
    Exercise(
        "01.2",
        f"A backward of {BACKWARD_MS:g} ms fills {BUCKETS} equal buckets evenly; each is {FAST_MS:g} ms on the wire, "
        f"one after the other. How many ms of communication come after the backward: in one flat message, in "
        f"{BUCKETS} buckets, and in {BUCKETS} buckets where each takes {SLOW_MS:g} ms?",
        "Replace the three … by your numbers of ms: flat, in buckets, in buckets on the slow wire.",
        ("when is each bucket full?", "on the slow wire: draw the four one after the other; when may the first begin?"),
        numeric(_overlap),
        _explain_overlap,
    ),
    Exercise(
        "01.7",
        "Gradients are accumulated over micro-batches before the update. Why are they too large?",
        "Mend the function, run its cell again, then this one.",
        ("what does the second backward do to the .grad of the first?", "each loss is a mean: over what?"),
        on_the_ranks(examine_accumulate),
        _explain_accumulate,
    ),
    Exercise(
        "01.8",
        "Every rank shuffles, and takes each n-th block. Which blocks does an epoch leave out?",
        "Mend the function, run its cell again, then this one.",
        (
            "print the first blocks of `order` on each rank, before it is cut",
            "what may the seed depend on, if all ranks are to share out one order?",
        ),
        on_the_ranks(examine_order),
        _explain_order,
    ),
    Exercise(
        "01.9",
        "Write my_gradients(model, x, y): the whole batch's gradients on every rank, whatever the shards' sizes.",
        "Replace the body: backward and aggregate, so that every parameter's .grad is serial's.",
        (
            "how much does one block of this shard weigh in the mean over ranks, and how much should it?",
            "who knows how many blocks there are in all? dist.all_reduce adds integers, too",
        ),
        on_the_ranks(examine_gradients),
        _explain_gradients,
    ),
)
