"""Chapter 00: messages between ranks, their number and size."""

from __future__ import annotations

from functools import partial

from lab_utils.comm.algorithms import formulas
from lab_utils.comm.algorithms.steps import chunk_sizes, ring_steps
from lab_utils.exercises.ch00_ranks.all_gather import examine_all_gather
from lab_utils.exercises.framework.code import on_the_ranks
from lab_utils.exercises.framework.exercise import Exercise
from lab_utils.exercises.framework.numeric import Quantity, numeric

MIB = 2**20
TENSOR_BYTES = 64 * MIB
RANKS, PER_NODE, MANY = 4, 2, 8


def _sum() -> list[Quantity]:
    numbers = range(RANKS)
    mistakes = (
        (sum(range(1, RANKS + 1)), "that is 1 + 2 + 3 + 4, and ranks count from 0"),
        (sum(numbers) / RANKS, "that is the mean, and SUM does not divide"),
        (max(numbers), "that is the largest rank number, which MAX would give"),
        (RANKS * sum(numbers), "that is the sum over the ranks of what each holds afterwards"),
        (RANKS, "that is the number of ranks"),
    )
    return [Quantity("the sum", sum(numbers), mistakes)]


def _explain_sum() -> str:
    terms = " + ".join(map(str, range(RANKS)))
    return f"{terms} = {sum(range(RANKS))}, and every rank holds it: all_reduce gives the same result to all"


def _ring_bytes() -> list[Quantity]:
    right, n = formulas.ring("all_reduce", RANKS, 0, TENSOR_BYTES).bytes, RANKS
    half = formulas.ring("all_gather", RANKS, 0, TENSOR_BYTES).bytes
    mistakes = (
        (half, "that is one half of the ring, the reduce-scatter; the all-gather sends as much again"),
        (TENSOR_BYTES, "that is the tensor once; count the messages of one rank and the size of each"),
        (2 * TENSOR_BYTES, "that is the tensor twice; in each half a rank sends all chunks but one"),
        ((n - 1) * TENSOR_BYTES, "that is the whole tensor to each of the others, which is what the ring avoids"),
        (2 * (n - 1) * TENSOR_BYTES, "the number of messages is right, but each carries one chunk, not the tensor"),
        (n * right, "that is what all ranks send together"),
        (right / MIB, "the number of MiB is right; the question asks for bytes, and 1 MiB is 2**20"),
        (right / MIB * 10**6, "1 MiB is 2**20 bytes, not 10**6"),
        (TENSOR_BYTES // n, "that is one chunk, so one message of several"),
    )
    return [Quantity("bytes each rank sends", right, mistakes)]


def _explain_ring_bytes() -> str:
    cost = formulas.ring("all_reduce", RANKS, 0, TENSOR_BYTES)
    chunk = TENSOR_BYTES // RANKS
    return (
        f"2 (n - 1) / n · B = 2 · {RANKS - 1} / {RANKS} · 64 MiB = {cost.bytes // MIB} MiB = {cost.bytes:,} bytes\n"
        f"{cost.messages} messages of one chunk of {chunk // MIB} MiB: {RANKS - 1} to reduce-scatter, "
        f"{RANKS - 1} to all-gather. With more ranks it comes close to 2 B and never reaches it."
    )


def _steps() -> list[Quantity]:
    ring, tree = (f("all_reduce", MANY, 0, MANY).steps for f in (formulas.ring, formulas.tree))
    up_only = "that is half of the way: {}"
    return [
        Quantity(
            "steps of the ring",
            ring,
            (
                (ring / 2, up_only.format("after the reduce-scatter no rank has the whole result yet")),
                (MANY, "that is the number of ranks; a chunk needs one step fewer to pass all of them, twice"),
                (2 * MANY, "a chunk that starts on a rank has only the others to visit"),
                (tree, "that is the tree's number"),
            ),
        ),
        Quantity(
            "steps of the tree",
            tree,
            (
                (tree / 2, up_only.format("only rank 0 has the result then")),
                (ring, "that is the ring's number"),
                (2 * MANY, "in one step of the tree many pairs talk at once"),
            ),
        ),
    ]


def _explain_steps() -> str:
    ring, tree = (f("all_reduce", MANY, 0, MANY).steps for f in (formulas.ring, formulas.tree))
    return (
        f"ring 2 (n - 1) = 2 · {MANY - 1} = {ring}, tree 2 ⌈log₂ n⌉ = 2 · {tree // 2} = {tree}\n"
        "So small tensors, where the latency of a step decides, go by the tree; large ones, where bytes decide, "
        "by the ring."
    )


def leaving_node(ranks: int, per_node: int, tensor_bytes: int) -> tuple[int, int]:
    """Bytes that node 0 sends to other nodes in one all-reduce: (flat ring, two-level)."""
    sizes = chunk_sizes(tensor_bytes, ranks)
    messages = (message for step in ring_steps(ranks) for message in step.messages)
    crossing = (m for m in messages if m.src // per_node == 0 and m.dst // per_node != 0)
    flat = sum(sizes[chunk] for message in crossing for chunk in message.chunks)
    cost = partial(formulas.two_level, "all_reduce", ranks, numel=tensor_bytes, ranks_per_node=per_node)
    return flat, sum(cost(rank=rank).bytes_across for rank in range(per_node))


def _leaving() -> list[Quantity]:
    flat, two_level = leaving_node(RANKS, PER_NODE, TENSOR_BYTES)
    in_mib = "the number of MiB is right; the question asks for bytes, and 1 MiB is 2**20"
    return [
        Quantity(
            "flat ring",
            flat,
            (
                (2 * flat, "of a node's two ranks only one has its right neighbour in the other node"),
                (flat / 2, "that is one half of the ring, the reduce-scatter or the all-gather"),
                (2 * two_level, "both nodes together, or the tensor twice? Count what one node sends"),
                (two_level, "that is the two-level all-reduce's number"),
                (flat / MIB, in_mib),
            ),
        ),
        Quantity(
            "two-level",
            two_level,
            (
                (two_level / PER_NODE, "that is one rank's share; every rank of the node sends its own"),
                (PER_NODE * two_level, "what crosses is not the tensor but the shard of each rank"),
                (flat, "that is the flat ring's number"),
                (two_level / MIB, in_mib),
            ),
        ),
    ]


def _explain_leaving() -> str:
    flat, two_level = leaving_node(RANKS, PER_NODE, TENSOR_BYTES)
    nodes = RANKS // PER_NODE
    return (
        f"flat ring: one of the node's ranks sends across, 2 (n - 1) / n · B = {flat // MIB} MiB = {flat:,} bytes\n"
        f"two-level: each of {PER_NODE} ranks sends 2 ({nodes} - 1) / {nodes} · B / {PER_NODE} = "
        f"{two_level // MIB // PER_NODE} MiB, together {two_level // MIB} MiB = {two_level:,} bytes\n"
        "The wire between nodes is the slow one, and it also has fewer steps on it: "
        f"{2 * (nodes - 1)} of 2 ({PER_NODE} - 1) + 2 ({nodes} - 1), where in the ring every step waits for it."
    )


def _explain_my_all_gather() -> str:
    return (
        "every rank holds every rank's tensor, at the place of the rank that it came from\n"
        f"With direct messages each rank sends its tensor to {RANKS - 1} others; the ring sends as many bytes, but "
        "never more than one message on a link at a time. isend before recv: where everybody waits to send, "
        "nobody receives."
    )


def _explain_ring_all_gather() -> str:
    return (
        "every step passes on what arrived in the step before: out[(rank - step) % n]\n"
        "In step 0 that is the own chunk, which is why the planted version begins well and then sends it again. "
        "Shapes, counts and bytes were all right: only the values show it."
    )


EXERCISES = (
    Exercise(
        "00.1",
        f"Four ranks call all_reduce(SUM) on their own rank number. What does rank {RANKS - 1} hold afterwards?",
        "Replace the … by your number.",
        ("write down what each rank puts in, from rank 0 on",),
        numeric(_sum),
        _explain_sum,
    ),
    Exercise(
        "00.2",
        f"How many bytes does each rank send in a ring all-reduce of 64 MiB on {RANKS} ranks?",
        "Replace the … by your number of bytes, such as 10 * 2**20.",
        ("count the messages that one rank sends, and the size of each", "the ring has two halves of n - 1 steps"),
        numeric(_ring_bytes),
        _explain_ring_bytes,
    ),
    Exercise(
        "00.3",
        f"How many steps does an all-reduce take on {MANY} ranks, by the ring and by the tree?",
        "Replace the two … by your numbers: the ring's, then the tree's.",
        ("the ring: how many hops until a chunk has passed every rank, and then again?",
         "the tree: how often can you halve 8 until 1 is left? Then the result has to come down"),
        numeric(_steps),
        _explain_steps,
    ),
    Exercise(
        "00.4",
        "Write my_all_gather(x) from send and receive: every rank's x, stacked, on every rank.",
        "Replace the body: return a tensor [ranks, *x.shape], or a list of tensors in rank order.",
        ("dist.isend returns at once; wait for it after you have received",
         "a receive needs an empty tensor of the right shape and type: torch.empty_like(x)"),
        on_the_ranks(partial(examine_all_gather, by_hand=True)),
        _explain_my_all_gather,
    ),
    Exercise(
        "00.5",
        "This ring all-gather has a bug: shapes and bytes are right, values are not. Which line is it?",
        "Mend that line, run its cell again, then this one.",
        ("follow one chunk: who has it after step 0, and who after step 1?",
         "what a rank sends in step 1 should be what it received in step 0"),
        on_the_ranks(partial(examine_all_gather, by_hand=True)),
        _explain_ring_all_gather,
    ),
    Exercise(
        "00.6",
        f"How many bytes leave each node in an all-reduce of 64 MiB on 2 nodes × {PER_NODE} ranks, by the flat "
        "ring and by two levels?",
        "Replace the two … by your numbers of bytes: the flat ring's, then the two-level one's.",
        ("the flat ring 0 → 1 → 2 → 3 → 0: which of its links cross, and what does a link carry in all?",
         "two levels: after the reduce-scatter in the node, how large is what each rank still has to reduce?"),
        numeric(_leaving),
        _explain_leaving,
    ),
)  # fmt: skip
