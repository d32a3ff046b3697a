"""Chapter 01c: bytes on a server's link, staleness of gradients, and error feedback that loses entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np

from lab_utils.comm.algorithms import formulas
from lab_utils.exercises.ch01_data import on_ranks_wire
from lab_utils.exercises.framework.code import on_the_ranks
from lab_utils.exercises.framework.exercise import Exercise, Finding
from lab_utils.exercises.framework.numeric import Quantity, numeric
from lab_utils.ranks import Ranks
from lab_utils.strategies.data.parameter_server.staleness import Applied, Clocks

FLOAT64_BYTES = 8
STEPS = 4  # of compression: from the second on, `kept` is not 0
CLOSE = 1e-9
SLOW, PACE_S = 3, {1: 1.0, 2: 1.0, 3: 4.0}  # of the workers in 01.14
Step = Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]  # name → gradient, sent, kept


# ---------------------------------------------------------------------- 01.13
def _link_bytes(ranks: int, parameters: int) -> list[Quantity]:
    whole = parameters * FLOAT64_BYTES
    right = 2 * (ranks - 1) * whole
    ring = formulas.ring("all_reduce", ranks, 0, parameters, FLOAT64_BYTES).bytes
    mistakes = (
        (right / 2, "that is half: is a float64 4 bytes, or only one of push and pull counted?"),
        (right / FLOAT64_BYTES, "that is the number of elements; each has its bytes"),
        (2 * ranks * whole, "one of the ranks is the server itself, and sends itself nothing"),
        (2 * whole, "that is what one worker's link carries; the server's carries all of them"),
        (ring, "that is what each rank of a ring sends"),
    )
    return [Quantity("bytes over the server's link", right, mistakes, relative=1e-3)]


def _explain_link_bytes(ranks: int, parameters: int) -> str:
    right = 2 * (ranks - 1) * parameters * FLOAT64_BYTES
    return (
        f"2 (n - 1) · 8 P = 2 · {ranks - 1} · 8 · {parameters:,} = {right:,} bytes\n"
        "A ring's ranks send as much all together. There it is spread over n links, here it goes over one."
    )


# ---------------------------------------------------------------------- 01.14
def paced(pace_s: Mapping[int, float]) -> Iterator[Applied]:
    """What an asynchronous server applies when each worker sends a gradient every pace_s[worker] seconds."""
    clocks, due_s = Clocks(pace_s), dict(pace_s)
    while True:
        worker = min(due_s, key=lambda each: (due_s[each], each))
        yield clocks.apply(worker, due_s[worker])
        due_s[worker] += pace_s[worker]
        clocks.pull()


def _staleness() -> list[Quantity]:
    log = list(islice(paced(PACE_S), 90))
    slow = max(each.staleness for each in log if each.worker == SLOW)
    fast = max(each.staleness for each in log[9:] if each.worker != SLOW)
    part = sum(each.worker == SLOW for each in log) / len(log)
    return [
        Quantity(
            "the slow worker's staleness",
            slow,
            (
                (slow / 2, "that is what one of the two fast workers does meanwhile"),
                (slow + 1, "its own update is none by others"),
                (1, "that would be one round of equally fast workers"),
                (3, "it takes 4 s, in which a fast worker makes more than one step"),
            ),
        ),
        Quantity(
            "a fast worker's largest staleness",
            fast,
            (
                (1, "that is so in most steps: what happens in the second in which the slow one pushes?"),
                (0, "somebody else updates between its pull and its push"),
                (slow, "that is the slow one's"),
            ),
        ),
        Quantity(
            "the slow worker's part of the updates",
            part,
            (
                (1 / 3, "that is what it has where all wait for each other"),
                (1 / 4, "that is against one fast worker; there are two, and its own updates count as well"),
                (1 / 8, "that is its updates against those of the others; its own are updates, too"),
                (100 * part, "give a fraction between 0 and 1"),
            ),
            relative=0.01,
        ),
    ]


def _explain_staleness() -> str:
    return (
        "8, 2 and 1/9: in 4 s each of the two fast workers makes 4 updates, the slow one makes 1\n"
        "So 8 updates by others lie between its pull and its push. Between a fast one's pull and its push lies the "
        "other fast one's update, and once in 4 s the slow one's too. What the slow worker has read is seldom used, "
        "and then it is old: without a bound, nobody waits and its data counts least."
    )


# ---------------------------------------------------------------------- 01.15
def examine_compress(ranks: Ranks, function: Callable | str) -> Finding | None:
    """Examine the reader's `compress(gradient, kept, k)` over STEPS steps: nothing is lost, the largest go first."""
    results = ranks.run(on_ranks_wire.compressed, function, STEPS)
    for rank, result in enumerate(results):
        if result["strange"]:
            name, said = result["strange"]
            return Finding((f"{said} came back for {name} on rank {rank}: return sent, kept, in the gradient's shape",))
    for number in range(STEPS):
        wrong = list(_wrong(results, number))
        if wrong:
            counted = f"so in {len(wrong)} of {len(results) * len(results[0]['steps'][0])} tensors of all ranks"
            return Finding((wrong[0], f"{counted}, in step {number}", *_invariant(results, number)))
    return None


def _wrong(results: Sequence[dict], number: int) -> Iterator[str]:
    """Yield one sentence per rank and tensor that is wrong in this step."""
    for rank, result in enumerate(results):
        steps: list[Step] = result["steps"]
        for name, (gradient, sent, kept) in steps[number].items():
            before = steps[number - 1][name][2] if number else np.zeros_like(gradient)
            if why := _why(gradient, before, sent, kept):
                yield f"{name} on rank {rank}, step {number}: {why}"


def _why(gradient: np.ndarray, before: np.ndarray, sent: np.ndarray, kept: np.ndarray) -> str:
    """Describe what is wrong with one call, "" if nothing; `before` is the previous `kept`."""
    lost = gradient + before - sent - kept
    if not _near(lost, 0 * lost, gradient):
        return _where_lost(lost, before, sent, gradient)
    k, many = on_ranks_wire.entries(gradient.size), np.count_nonzero(sent)
    if many > k:
        return f"{many} entries are sent, and k is {k}"
    if many < min(k, np.count_nonzero(gradient + before)):
        return f"{many} of k = {k} entries are sent: nothing is lost, and more could have gone"
    if np.abs(kept).max() > np.abs(sent[sent != 0]).min(initial=np.inf) * (1 + CLOSE):
        return "it keeps entries that are larger than some that it sends: is the largest of the gradient chosen?"
    return ""


def _where_lost(lost: np.ndarray, before: np.ndarray, sent: np.ndarray, gradient: np.ndarray) -> str:
    """Describe what is missing (or duplicate) in sent + kept, by what the difference equals."""
    if _near(lost, before, gradient):
        return "what was kept before this step is gone: it is neither sent nor kept"
    if _near(lost, -before, gradient):
        return "what was kept before this step counts twice"
    if _near(lost, gradient + before - sent, gradient):
        return "what is not sent is not kept either: nothing is left of it"
    if _near(lost, -sent, gradient):
        return "what is sent is kept as well, and will be sent again"
    if _near(lost, 2 * (gradient + before - sent), gradient):
        return "what is kept has the wrong sign"
    return "sent and kept together are not the gradient and what was kept before"


def _near(a: np.ndarray, b: np.ndarray, scale: np.ndarray) -> bool:
    return bool(np.abs(a - b).max() <= CLOSE * np.abs(scale).max())


def _invariant(results: Sequence[dict], number: int) -> Iterator[str]:
    """Yield how far everything sent plus kept is from the sum of all gradients; nothing if they are equal."""
    there_was = found = 0.0
    for result in results:
        for name, (_, _, kept) in result["steps"][number].items():
            all_gradients = sum(step[name][0] for step in result["steps"][: number + 1])
            all_sent = sum(step[name][1] for step in result["steps"][: number + 1])
            there_was += np.square(all_gradients).sum()
            found += np.square(all_gradients - all_sent - kept).sum()
    if found > CLOSE * there_was:
        part = np.sqrt(found / there_was)
        yield f"sent so far plus kept differs from the sum of all gradients by {part:.0%} of its norm"


def _explain_compress() -> str:
    return (
        "what was sent and what is kept add up to the sum of all gradients, on every rank, after every step\n"
        "So whatever compression leaves out comes later, and nothing is lost; the error is of gradient + kept, which "
        "is what the compressor was given, not of the gradient alone."
    )


EXERCISES = (
    Exercise(
        "01.13",
        "n ranks, one of them the server, P parameters in float64: how many bytes go over the server's link in a step?",
        "Replace the … by your number, in and out together; a formula with n and P in it will do.",
        ("what does one worker push, and what does it pull?", "how many of the n ranks are workers?"),
        numeric(_link_bytes),
        _explain_link_bytes,
        given=("ranks", "parameters"),
    ),
    Exercise(
        "01.14",
        "Three workers, nobody waits; two take 1 s a step, the third takes 4 s. How stale are the third's gradients, "
        "how stale at most a fast one's, and which part of all updates is the third's?",
        "Replace the three … by two numbers of updates and a fraction.",
        (
            "write down who pushes in seconds 1 to 4",
            "staleness: updates by others between a worker's pull and its push",
        ),
        numeric(_staleness),
        _explain_staleness,
    ),
    Exercise(
        "01.15",
        "This compressor remembers what it did not send, and yet gradients get lost. Which ones?",
        "Mend the function, run its cell again, then this one.",
        ("of what are the largest entries taken?", "and of what is the rest kept?"),
        on_the_ranks(examine_compress),
        _explain_compress,
    ),
)  # fmt: skip
