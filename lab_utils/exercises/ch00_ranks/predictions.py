"""Predictions of chapters 00 and 00b: numbers that a reader commits to before the cells that show them."""

from __future__ import annotations

from dataclasses import replace

from lab_utils.comm.algorithms import formulas
from lab_utils.exercises.ch00_ranks import words_predictions as words
from lab_utils.exercises.ch00_ranks.numbers import PER_NODE, RANKS
from lab_utils.exercises.framework.exercise import Exercise
from lab_utils.exercises.framework.judge_numbers import Numbers, Quantity, numeric
from lab_utils.timeline.hardware import Link, catalogue

ASKED = 2  # the rank that 00.a asks about
COUNTED_BYTES, TIMED_BYTES = 4_000, 4_000_000  # tensors of the chapter
NVLINK, ETHERNET = catalogue["NVLink 3"], catalogue["Ethernet 10 Gb/s"]
MICRO = 1e-6
TURNS, BROKEN, DIED = 3, 1, 2  # of 00b: all-reduces in a loop, the rank that sends nothing on, the rank that dies


# ---------------------------------------------------------------------- 00
def transposed() -> Numbers:
    """All-to-all of `10 * rank + chunk`: chunk j of rank i becomes chunk i of rank j."""
    n, rank = RANKS, ASKED
    held = [[10 * r + chunk for chunk in range(n)] for r in range(n)]
    first = Quantity(held[0][rank], own=held[rank][0], of_rank_0=held[0][0])
    last = Quantity(held[n - 1][rank], own=held[rank][n - 1], stays=held[rank][rank], of_last=held[n - 1][n - 1])
    return [first, last], {"row": [held[r][rank] for r in range(n)]}


def busiest_bytes() -> Numbers:
    """Bytes that the busiest rank sends, by tree and by two levels."""
    n, m, whole = RANKS, PER_NODE, COUNTED_BYTES
    ring = formulas.ring("all_reduce", n, 0, whole).bytes
    tree = max(formulas.tree("all_reduce", n, rank, whole).bytes for rank in range(n))
    cost = formulas.two_level("all_reduce", n, 0, whole, m)
    inside = cost.bytes - cost.bytes_across
    rounds = formulas.tree("all_reduce", n, 0, whole).rounds
    by_tree = Quantity(tree, leaf=whole, of_ring=ring, each_round=rounds * whole)
    by_levels = Quantity(cost.bytes, only_across=cost.bytes_across, only_inside=inside, of_tree=tree)
    values = {"tree": tree, "children": tree // whole, "two": cost.bytes, "across": cost.bytes_across}
    return [by_tree, by_levels], values | {"inside": inside, "ring": ring}


def all_reduce_us() -> Numbers:
    """Microseconds of one all-reduce by ring and by tree, latency and bandwidth alone."""
    n, whole, link = RANKS, TIMED_BYTES, NVLINK
    ring, tree = (f("all_reduce", n, 0, whole) for f in (formulas.ring, formulas.tree))
    on_path = tree.rounds * whole  # rank 0 first receives, then sends: the whole tensor in each round
    by_ring = Quantity(
        _us(link, ring.rounds, ring.bytes), relative=0.05, half=_us(link, ring.rounds / 2, ring.bytes / 2),
        no_latency=_us(link, 0, ring.bytes), one_message=_us(link, 1, whole),
        whole_each_round=_us(link, ring.rounds, ring.rounds * whole),
    )  # fmt: skip
    by_tree = Quantity(
        _us(link, tree.rounds, on_path), relative=0.05, half=_us(link, tree.rounds / 2, on_path / 2),
        no_latency=_us(link, 0, on_path), only_sent=_us(link, tree.rounds, tree.bytes),
    )  # fmt: skip
    return [by_ring, by_tree], {
        "ring_rounds": ring.rounds, "tree_rounds": tree.rounds, "ring_bytes": ring.bytes, "tree_bytes": on_path,
        "latency_us": link.latency_s / MICRO, "gb_per_s": link.bytes_per_s / 1e9,
        "ring_us": by_ring.right, "tree_us": by_tree.right,
    }  # fmt: skip


def twice_the_bandwidth(compute_s: float) -> Numbers:
    """How many times shorter the step gets when the link's bandwidth doubles; `compute_s` precede the all-reduce."""
    (before, after), (slow_before, slow_after) = (_with_twice(link) for link in (NVLINK, ETHERNET))
    compute_us = compute_s / MICRO
    near = Quantity(
        (compute_us + before) / (compute_us + after),
        relative=0.03,
        twice=2.0,
        all_reduce_alone=before / after,
        none=1.0,
    )
    far = Quantity((compute_us + slow_before) / (compute_us + slow_after), relative=0.03, twice=2.0, none=1.0)
    values = {"compute_us": compute_us, "before": before, "after": after, "slow_before": slow_before}
    return [near, far], values | {"slow_after": slow_after, "near": near.right, "far": far.right}


def _with_twice(link: Link) -> tuple[float, float]:
    cost = formulas.ring("all_reduce", RANKS, 0, TIMED_BYTES)
    faster = replace(link, bytes_per_s=2 * link.bytes_per_s)
    return _us(link, cost.rounds, cost.bytes), _us(faster, cost.rounds, cost.bytes)


def _us(link: Link, rounds: float, size_bytes: float) -> float:
    return link.time_s(rounds, size_bytes) / MICRO


# ---------------------------------------------------------------------- 00b
def skipped() -> Numbers:
    """One rank leaves out the last of `TURNS` all-reduces: ranks that block, and the number of the op."""
    blocked = Quantity(RANKS - 1, all=RANKS, one=1)
    number = Quantity(TURNS - 1, counted_from_1=TURNS, first=0)
    return [blocked, number], {"others": RANKS - 1, "number": TURNS - 1, "turns": TURNS}


def relayed() -> Numbers:
    """Each rank receives from the one before; `BROKEN` sends nothing on: ranks that block, and the rank at fault."""
    blocked = Quantity(RANKS - 1 - BROKEN, next_only=1, all_others=RANKS - 1, all=RANKS)
    cause = Quantity(BROKEN, next_rank=BROKEN + 1, last=RANKS - 1, first=0)
    return [blocked, cause], {"broken": BROKEN, "next": BROKEN + 1, "last": RANKS - 1}


def replaced() -> Numbers:
    """Every rank holds the sum of all rank numbers; then `DIED` is replaced and sets x to its number again."""
    n, each = RANKS, sum(range(RANKS))
    asked = Quantity((n - 1) * each + DIED, all_kept=n * each, without=(n - 1) * each, all_anew=each)
    return [asked], {"others": n - 1, "each": each, "own": DIED, "sum": asked.right, "died": DIED}


def released_s(timeout_s: float, computing_s: float) -> Numbers:
    """Seconds until ranks that wait for one that still computes are released."""
    return [Quantity(timeout_s, relative=0.2, at_once=0.0, when_it_enters=computing_s)], {
        "timeout_s": timeout_s,
        "computing_s": computing_s,
    }


PREDICTIONS: tuple[Exercise, ...] = (
    numeric("00.a", words.AllToAll, transposed, n=RANKS, rank=ASKED),
    numeric("00.b", words.BusiestBytes, busiest_bytes, n=RANKS, whole=COUNTED_BYTES),
    numeric("00.c", words.AllReduceTime, all_reduce_us, n=RANKS, mb=TIMED_BYTES // 10**6),
    numeric("00.d", words.TwiceTheBandwidth, twice_the_bandwidth, given=("compute_s",)),
    numeric("00.e", words.Skipped, skipped, n=RANKS),
    numeric("00.f", words.Relay, relayed, n=RANKS),
    numeric("00.g", words.Replaced, replaced, n=RANKS),
    numeric("00.h", words.Released, released_s, given=("timeout_s", "computing_s")),
)
