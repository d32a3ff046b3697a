"""Chapter 01: shard the data, replicate the model, aggregate the gradients."""

from __future__ import annotations

from lab_utils.comm.algorithms import formulas
from lab_utils.corpus import Hash, Rendezvous, moved
from lab_utils.exercises.ch01_data.judge_training import examine_replicate, examine_shard, examine_step
from lab_utils.exercises.framework.code import on_the_ranks
from lab_utils.exercises.framework.exercise import Exercise
from lab_utils.exercises.framework.numeric import Quantity, numeric

RANKS, FLOAT64_BYTES = 4, 8
BLOCKS = 10_000  # enough for measured fractions within 0.02 of the expected ones
TOLERANCE = 0.03  # tells 1/5 from 1/4


def _step_bytes(parameters: int) -> list[Quantity]:
    ring = formulas.ring("all_reduce", RANKS, 0, parameters, FLOAT64_BYTES).bytes
    whole = parameters * FLOAT64_BYTES
    mistakes = (
        (ring / 2, "that is half: is a float64 4 bytes, or the ring only a reduce-scatter?"),
        (ring / FLOAT64_BYTES, "that is the number of elements; each has its bytes"),
        (whole, "that is all gradients once; a ring all-reduce sends more than that"),
        (2 * whole, "that is all gradients twice; in each half of the ring a rank sends all chunks but one"),
        ((RANKS - 1) * whole, "that is all gradients to each of the others"),
        (RANKS * ring, "that is what all ranks send together"),
    )
    # Each tensor is chunked separately, so ranks differ by at most one element per tensor: far below 1 in 1,000.
    return [Quantity("bytes each rank sends", ring, mistakes, relative=1e-3)]


def _explain_step_bytes(parameters: int) -> str:
    ring = formulas.ring("all_reduce", RANKS, 0, parameters, FLOAT64_BYTES).bytes
    return (
        f"2 (n - 1) / n · 8 P = 2 · {RANKS - 1} / {RANKS} · 8 · {parameters:,} = {ring:,} bytes\n"
        "One gradient for each parameter, as large as the parameter; the batch has no part in it. That is why "
        "larger batches hide communication and larger models do not."
    )


def _moved() -> tuple[float, float]:
    """Fraction of blocks that move when a fifth rank is added: (hash modulo, rendezvous)."""
    return tuple(
        moved(sharding.assign(BLOCKS, RANKS), sharding.assign(BLOCKS, RANKS + 1)) for sharding in (Hash(), Rendezvous())
    )


def _fractions() -> list[Quantity]:
    modulo, rendezvous = _moved()
    stay, fair = 1 / (RANKS + 1), 1 / RANKS
    percent = "give a fraction between 0 and 1"
    return [
        Quantity(
            "hash modulo",
            modulo,
            (
                (stay, "that is the fraction that stays"),
                (fair, "it would be about that, if only the new rank's blocks moved"),
                (1 - fair, "close, but not this: when do h % 4 and h % 5 agree? Look at h % 20"),
                (1.0, "a few stay: those with h % 4 equal to h % 5"),
                (100 * (1 - stay), percent),
            ),
            relative=0,
            absolute=TOLERANCE,
        ),
        Quantity(
            "rendezvous",
            rendezvous,
            (
                (fair, "each of the five ranks ends with the same share: what is the new one's?"),
                (0.0, "the new rank must get its blocks from somewhere"),
                (1 - stay, "that is hash modulo: here a block moves only if the new rank outbids its old one"),
                (100 * stay, percent),
            ),
            relative=0,
            absolute=TOLERANCE,
        ),
    ]


def _explain_fractions() -> str:
    modulo, rendezvous = _moved()
    n = RANKS
    return (
        f"hash modulo: h % {n} = h % {n + 1} only for h % {n * (n + 1)} < {n}, so {n} of {n * (n + 1)} stay and "
        f"1 - 1/{n + 1} = {1 - 1 / (n + 1):.2f} moves; counted on {BLOCKS:,} blocks: {modulo:.3f}\n"
        f"rendezvous: only what the new rank wins moves, its fair share 1/{n + 1} = {1 / (n + 1):.2f}; "
        f"counted: {rendezvous:.3f}, the least that keeps the ranks even"
    )


def _explain_step() -> str:
    return (
        "loss, every gradient and every parameter equal serial, over two steps in float64\n"
        "The loss is a mean over the batch, so the batch's gradient is the mean of the shards' gradients; a sum is n "
        "times that, which is the same as n times the learning rate under plain SGD, and hides under Adam."
    )


def _explain_replicate() -> str:
    return (
        "all ranks start from the same weights, and one step on every shard equals serial\n"
        "Averaged gradients keep equal replicas equal; they never make unequal ones equal. A broadcast also covers "
        "weights that come from a file on one rank, which a common seed does not."
    )


def _explain_shard() -> str:
    return (
        "each block of the batch is read by one rank, by no more and by no less, and every shard is as large\n"
        "Ranks that read the same shard compute the same gradients: the mean of n equal ones is one of them, so "
        "n ranks train no faster than one, and nothing fails."
    )


EXERCISES = (
    Exercise(
        "01.1",
        f"P parameters in float64: how many bytes does each of {RANKS} ranks send per step, by ring?",
        "Replace the … by your number; a formula with P in it will do.",
        ("how many bytes do the gradients have?", "exercise 00.2 has the ring's formula"),
        numeric(_step_bytes),
        _explain_step_bytes,
        given=("parameters",),
    ),
    Exercise(
        "01.3",
        "This step trains, and does not equal serial. What is wrong with its gradients?",
        "Mend the function, run its cell again, then this one.",
        ("what does all_reduce do when it is not told otherwise?", "compare one gradient with serial's: what factor?"),
        on_the_ranks(examine_step),
        _explain_step,
    ),
    Exercise(
        "01.4",
        "These replicas are not replicas. Which line makes them differ, and what would make them equal?",
        "Mend the function, run its cell again, then this one.",
        (
            "what does the seed depend on?",
            "one rank's weights have to reach all the others: which collective does that?",
        ),
        on_the_ranks(examine_replicate),
        _explain_replicate,
    ),
    Exercise(
        "01.5",
        "Four ranks, and the loss falls no faster than with one. What does my_shard give to each rank?",
        "Mend the function, run its cell again, then this one.",
        ("print which blocks each rank gets", "where does the rank's own number come in?"),
        on_the_ranks(examine_shard),
        _explain_shard,
    ),
    Exercise(
        "01.6",
        "Which fraction of the blocks moves when a fifth rank joins four, by hash modulo and by rendezvous?",
        f"Replace the two … by fractions between 0 and 1, to within {TOLERANCE}: hash modulo, then rendezvous.",
        ("hash modulo: which blocks keep their rank?", "rendezvous: who can win a block from its old rank?"),
        numeric(_fractions),
        _explain_fractions,
    ),
)
