"""Chapter 03, amounts: activations held per rank, and bytes sent between stages."""

from __future__ import annotations

from lab_utils.exercises.framework.exercise import Exercise
from lab_utils.exercises.framework.numeric import Quantity, numeric
from lab_utils.schedule import schedules

HELD_RANKS, HELD_MICROBATCHES = 8, 32  # 03.3
WIRE_RANKS, WIRE_CHUNKS, FLOAT32_BYTES = 4, 2, 4  # 03.4


# ---------------------------------------------------------------------- 03.3
def _held() -> list[Quantity]:
    p, m = HELD_RANKS, HELD_MICROBATCHES
    one, gpipe, h1, h2 = (
        getattr(schedules, name)(p, m).peak_activations for name in ("one_f_one_b", "gpipe", "zb_h1", "zb_h2")
    )
    return [
        Quantity(
            "1F1B, first rank",
            one[0],
            (
                (m, "that is GPipe, which runs no backward before the last forward"),
                (p - 1, "those are under way behind it; the one that it works on itself counts, too"),
                (one[-1], "that is the last rank: the first one waits longest for a gradient"),
            ),
        ),
        Quantity(
            "1F1B, last rank",
            one[-1],
            (
                (p, "that is the first rank: here the gradient comes at once"),
                (2, "its next op after F0 is BW0"),
                (0, "between a forward and its backward the activations are there"),
                (m, "that is GPipe, which runs no backward before the last forward"),
            ),
        ),
        Quantity(
            "GPipe, any rank",
            gpipe[0],
            (
                (p, "that is the number of ranks: does any backward begin before the last forward ends?"),
                (m - 1, "the last one is held, too, when the first backward begins"),
                (m / p, "activations are not divided by the number of ranks: layers are"),
            ),
        ),
        Quantity(
            "ZB-H1, last rank",
            h1[-1],
            (
                (1, "that is 1F1B: here W comes later than B, and until W the input is needed"),
                (2 * p - 1, "that is ZB-H2"),
                (2, "how many W are put off there, to fill the pauses at the end?"),
            ),
        ),
        Quantity(
            "ZB-H2, any rank",
            h2[0],
            (
                (p, "that is ZB-H1: H2 runs more forwards before the first gradient comes"),
                (2 * p, "one fewer: the last rank has no wait to fill"),
                (m, "that is GPipe: H2 fills the wait for the first gradient, and no more"),
            ),
        ),
    ]


def _explain_held() -> str:
    p, m = HELD_RANKS, HELD_MICROBATCHES
    return (
        f"1F1B p - r, so {p} on the first rank and 1 on the last; GPipe m = {m}; ZB-H1 p = {p} on every rank; ZB-H2 "
        f"2 p - 1 = {2 * p - 1} on every rank\n"
        "In micro-batches of a full stage, from a forward to the W (or BW) of the same micro-batch. 1F1B is uneven: "
        "the first rank decides how much memory is needed. ZB-H1 holds as much there, and uses what other ranks had "
        "left. ZB-H2 needs about twice as much: that is the price of its bubble rate of 0."
    )


# ---------------------------------------------------------------------- 03.4
def boundary_bytes(stages: int, microbatches: int, b: int, T: int, C: int) -> int:
    """Bytes over all boundaries per step: activations [b, T, C] forward and their gradients back, in float32."""
    return 2 * (stages - 1) * microbatches * b * T * C * FLOAT32_BYTES


def _wire_bytes(m: int, b: int, T: int, C: int) -> list[Quantity]:
    p, v = WIRE_RANKS, WIRE_CHUNKS
    one, line, loop = (boundary_bytes(stages, m, b, T, C) for stages in (2, p, v * p))
    common = "that is one way: activations go forward, and their gradients come back"
    return [
        Quantity(
            "one boundary",
            one,
            (
                (one / 2, f"{common} (or a float32 with 2 bytes)"),
                (one / m, "that is one micro-batch"),
                (one / FLOAT32_BYTES, "that is the number of elements; each has its bytes"),
                (one / T, "every position has its C numbers"),
                (2 * one, "that is twice as much: a float32 has 4 bytes"),
            ),
        ),
        Quantity(
            "all boundaries",
            line,
            (
                (one, "that is one boundary"),
                (p * one, "p stages: how many places between two of them are there?"),
                (line / 2, common),
                ((p - 2) * one, "one boundary more"),
            ),
        ),
        Quantity(
            f"all boundaries, {v} chunks a rank",
            loop,
            (
                (line, "that is with one stage a rank: how many stages are there now?"),
                (v * line, "near: but between the last stage of a round and the first of the next there is one, too"),
                (v * p * one, "v p stages: how many places between two of them are there?"),
                (line / v, "a chunk has fewer layers, and what goes from one to the next is as large as before"),
            ),
        ),
    ]


def _explain_wire_bytes(m: int, b: int, T: int, C: int) -> str:
    p, v = WIRE_RANKS, WIRE_CHUNKS
    one, line, loop = (boundary_bytes(stages, m, b, T, C) for stages in (2, p, v * p))
    return (
        f"2 m b T C · 4 = {one:,} at each boundary; (p - 1) times that = {line:,}; (v p - 1) times that = {loop:,}\n"
        "What crosses grows with the tokens of the batch, and not with the layers: a deeper model pipelines better. "
        "Data parallelism is the other way round: its bytes grow with the parameters, and not with the batch."
    )


EXERCISES = (
    Exercise(
        "03.3",
        f"{HELD_RANKS} ranks, {HELD_MICROBATCHES} micro-batches: how many micro-batches' activations are held at most "
        "under 1F1B on the first rank and on the last, under GPipe, under ZB-H1 on the last rank, and under ZB-H2?",
        "Replace the five … by numbers of micro-batches of a full stage.",
        ("how many forwards come before the first backward?", "activations are kept until W, and not until B"),
        numeric(_held),
        _explain_held,
    ),
    Exercise(
        "03.4",
        f"m micro-batches [b, T, C] in float32 through {WIRE_RANKS} ranks: how many bytes cross one boundary in a "
        f"step, how many all of them, and how many with {WIRE_CHUNKS} chunks a rank?",
        "Replace the three … by numbers of bytes, both ways together; formulas with m, b, T and C will do.",
        ("what goes forward, and what comes back?", "how many boundaries are there between so many stages?"),
        numeric(_wire_bytes),
        _explain_wire_bytes,
        given=("m", "b", "T", "C"),
    ),
)
