"""Chapter 03, bubbles: of the named schedules, micro-batches needed for a small one, and its two definitions."""

from __future__ import annotations

from math import floor

from lab_utils.exercises.framework.exercise import Exercise
from lab_utils.exercises.framework.numeric import Quantity, numeric
from lab_utils.schedule import Costs, schedules, simulate

ROUNDED = {"relative": 0.015, "absolute": 0.005}  # two digits of a fraction are enough
EVEN = Costs(forward=1, backward_input=1, backward_weight=1)
RANKS, MICROBATCHES, CHUNKS = 4, 8, 2  # 03.1
MANY_RANKS, MANY_CHUNKS, PERCENT = 8, 4, 10  # 03.2
UNEVEN_MS = Costs(forward=4, backward_input=5, backward_weight=3)  # 03.5
MAKESPAN_MS, SPAN_MS = 108, 105  # results of lengths_ms(), constant as the simulator takes a second to load


# ---------------------------------------------------------------------- 03.1
def _bubbles() -> list[Quantity]:
    p, m, v = RANKS, MICROBATCHES, CHUNKS
    plain, looped = (
        simulate(schedules.gpipe(p, m), EVEN).bubble_fraction,
        simulate(schedules.interleaved(p, m, virtual_stages=v), EVEN.divided(v)).bubble_fraction,
    )
    alike = (
        ((p - 1) / m, "that is idle time in parts of the work; the fraction is of the whole time, the idle included"),
        (p / (m + p), "the first of p ranks waits for p - 1 others, not for p"),
        (1 - plain, "that is the part of the time in which ranks work"),
        (100 * plain, "give a fraction between 0 and 1"),
    )
    no_chunks = (
        plain,
        "that is without chunks: how long does the last rank wait for its first op, if a chunk is half a stage?",
    )
    chunks = (
        no_chunks,
        (plain / v, "near: the idle time is divided by the chunks, and so the whole time is a little shorter, too"),
        ((p - 1) / (v * m), "that is idle time in parts of the work; the fraction is of the whole time"),
        ((v * p - 1) / (m + v * p - 1), "that would be so many ranks; here a chunk is shorter and ranks are as before"),
        (100 * looped, "give a fraction between 0 and 1"),
    )
    lower = (
        (0.0, "between warm-up and cool-down nobody waits; during these two they do"),
        (looped, "that takes chunks; here a rank has one stage"),
        (plain / 2, "it fills no pause that GPipe leaves: when does rank 0 get its first gradient, and its last?"),
    )
    return [
        Quantity("GPipe", plain, alike, **ROUNDED),
        Quantity("1F1B", plain, (*alike, *lower), **ROUNDED),
        Quantity(f"interleaved 1F1B, {v} chunks a rank", looped, chunks, **ROUNDED),
    ]


def _explain_bubbles() -> str:
    p, m, v = RANKS, MICROBATCHES, CHUNKS
    idle, whole = p - 1, m + p - 1
    return (
        f"(p - 1) / (m + p - 1) = {idle}/{whole} = {idle / whole:.3f}, for both; with v chunks (p - 1) / (v m + p - 1) "
        f"= {idle}/{v * m + p - 1} = {idle / (v * m + p - 1):.3f}\n"
        "The last rank waits until the first micro-batch has come through p - 1 stages, and the first rank until the "
        "last gradient has come back. When F and B take turns in between does not change that: 1F1B has GPipe's "
        "bubble. What it saves is memory. Chunks make each stage on the way v times shorter, for more messages."
    )


# ---------------------------------------------------------------------- 03.2
def least_microbatches(ranks: int, chunks: int, percent: int) -> int:
    """The smallest m with (p - 1) / (v m + p - 1) below `percent` percent."""
    return floor((ranks - 1) * (100 - percent) / (percent * chunks)) + 1


def _enough() -> list[Quantity]:
    p, v = MANY_RANKS, MANY_CHUNKS
    plain, chunked = (least_microbatches(p, chunks, PERCENT) for chunks in (1, v))
    work = (100 - PERCENT) / PERCENT * (p - 1)
    return [
        Quantity(
            "micro-batches, 1F1B",
            plain,
            (
                (plain - 1, f"with that many the bubble is {PERCENT} % to the digit; below it is asked"),
                (100 / PERCENT * (p - 1) + 1, "that has idle time below a tenth of the work, not of the whole time"),
                (100 / PERCENT * (p - 1), "that has idle time of a tenth of the work, not of the whole time"),
                ((100 - PERCENT) / PERCENT * p + 1, "p ranks, and p - 1 of them to wait for"),
                (4 * p, "that is the rule of thumb of 4 p, and its bubble is above 17 %"),
            ),
        ),
        Quantity(
            f"micro-batches, {v} chunks a rank",
            chunked,
            (
                (plain, "that is without chunks"),
                (chunked - 1, "rounded down: with that many the bubble is still a little too large"),
                (work / v, "a micro-batch cannot be cut: what is the next whole number that is enough?"),
                (v * plain, "chunks make the pauses shorter: fewer micro-batches are enough, not more"),
            ),
        ),
    ]


def _explain_enough() -> str:
    p, v, part = MANY_RANKS, MANY_CHUNKS, PERCENT / 100
    plain, chunked = (least_microbatches(p, chunks, PERCENT) for chunks in (1, v))

    def bubble(m: int, chunks: int) -> str:
        return f"{(p - 1) / (chunks * m + p - 1):.4f}"

    return (
        f"m > (p - 1) (1 - {part:g}) / ({part:g} v): {plain} without chunks ({bubble(plain, 1)}), {chunked} with {v} "
        f"({bubble(chunked, v)})\n"
        "Under GPipe each of them is a micro-batch's activations in memory; under 1F1B no more than p are held. And "
        "a batch of so many micro-batches must still train well: the number is not free to choose."
    )


# ---------------------------------------------------------------------- 03.5
def lengths_ms() -> tuple[float, float, float]:
    """ZB-H2 in 03.5: (makespan, longest span of a rank, work of a rank)."""
    timeline = simulate(schedules.zb_h2(RANKS, MICROBATCHES), UNEVEN_MS)
    work = MICROBATCHES * (UNEVEN_MS.forward + UNEVEN_MS.backward_input + UNEVEN_MS.backward_weight)
    return timeline.makespan_s, work / (1 - timeline.bubble_rate), work


def _two_bubbles() -> list[Quantity]:
    whole, span, work = lengths_ms()
    fraction, rate = 1 - work / whole, 1 - work / span
    of_work = "that is idle time in parts of the work: divide by the time, not by the work"
    return [
        Quantity(
            "bubble fraction",
            fraction,
            (
                (rate, "that is the bubble rate: here a rank is idle before its first op, and after its last one, too"),
                (whole / work - 1, of_work),
                (1 - span / whole, "that is only the idle time outside of the longest span"),
                (RANKS * fraction, "the idle time of all ranks is divided by ranks × makespan"),
            ),
            **ROUNDED,
        ),
        Quantity(
            "bubble rate",
            rate,
            (
                (fraction, "that is the bubble fraction: the rate takes the longest span of one rank"),
                (span / work - 1, of_work),
                (0.0, "it is 0 where F, B and W take as long; here they do not"),
            ),
            **ROUNDED,
        ),
    ]


def _explain_two_bubbles() -> str:
    whole, span, work = lengths_ms()
    return (
        f"fraction 1 - {work:g}/{whole:g} = {1 - work / whole:.3f}; rate 1 - {work:g}/{span:g} = {1 - work / span:.3f}"
        "\nA rank that starts late and ends late loses nothing by the rate: in the next step it starts late again. "
        "That holds if nobody waits for everybody between two steps, so not where gradients are clipped by the norm "
        "of all, unless that is put off, too. Ask which of the two numbers a paper prints."
    )


_STEP = f"{RANKS} ranks, {MICROBATCHES} micro-batches"

EXERCISES = (
    Exercise(
        "03.1",
        f"{_STEP}, F, B and W take as long, messages nothing: the bubble fraction of GPipe, of 1F1B, and of "
        f"interleaved 1F1B with {CHUNKS} chunks a rank?",
        "Replace the three … by fractions between 0 and 1, two digits will do; formulas will, too.",
        ("how long does the last rank wait for its first op?", "draw 1F1B's first rank: when can its last BW begin?"),
        numeric(_bubbles),
        _explain_bubbles,
    ),
    Exercise(
        "03.2",
        f"{MANY_RANKS} ranks: from how many micro-batches on is the bubble fraction below {PERCENT} %, under 1F1B, and "
        f"with {MANY_CHUNKS} chunks a rank?",
        "Replace the two … by whole numbers.",
        ("solve (p - 1) / (m + p - 1) < 1/10 for m", "with v chunks there are v m in place of m"),
        numeric(_enough),
        _explain_enough,
    ),
    Exercise(
        "03.5",
        f"{_STEP}, F 4, B 5, W 3 ms: ZB-H2 takes {MAKESPAN_MS} ms, and the longest that one rank takes from its own "
        f"first op to its own last is {SPAN_MS} ms. The bubble fraction, and the bubble rate?",
        "Replace the two … by fractions between 0 and 1, two digits will do.",
        ("how long does each rank work?", "one is of the makespan, the other of the longest span of one rank"),
        numeric(_two_bubbles),
        _explain_two_bubbles,
    ),
)
