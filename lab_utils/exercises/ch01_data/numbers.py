"""The numbers of chapters 01 to 01f: bytes, exposed communication, blocks that move, and staleness."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from math import ceil, isclose

from lab_utils.comm.algorithms import formulas
from lab_utils.corpus import Hash, Rendezvous, moved
from lab_utils.exercises.framework.judge_numbers import Numbers, Quantity
from lab_utils.strategies.data.parameter_server.pacing import Pace, Pacing
from lab_utils.strategies.data.parameter_server.staleness import Applied, Clocks
from lab_utils.timeline.hardware import Link

RANKS, FLOAT64_BYTES = 4, 8
WITHIN = 1e-3  # a ring chunks each tensor separately: ranks differ by at most one element per tensor, far below this


# ---------------------------------------------------------------------- 01
BACKWARD_MS, BUCKETS = 80.0, 4  # 01.2
FAST_MS, SLOW_MS = 12.0, 30.0  # per bucket on the wire
RATE = 0.4  # of 01.a, for the mean
BATCH_BLOCKS = 16  # of 01.d
LEAST_MB, MB = 0.1, 2**20  # of 01.b: a bucket's least size


def step_bytes(parameters: int) -> Numbers:
    n, whole = RANKS, parameters * FLOAT64_BYTES
    ring = formulas.ring("all_reduce", n, 0, parameters, FLOAT64_BYTES).bytes
    asked = [
        Quantity(
            whole, WITHIN, four_bytes=whole / 2, elements=parameters, by_ring=ring, all_ranks=n * whole,
            times_batch=n * n * whole,
        ),
        Quantity(
            ring, WITHIN, half=ring / 2, elements=ring / FLOAT64_BYTES, once=whole, twice=2 * whole,
            to_each=(n - 1) * whole, all_ranks=n * ring,
        ),
    ]  # fmt: skip
    return asked, {"others": n - 1, "parameters": parameters, "whole": whole, "bytes": ring}


def exposed_ms(wire_ms: float, buckets: int = BUCKETS) -> float:
    """Return the exposed communication after the backward: a bucket is sent when it is full and the wire is free."""
    free_ms = 0.0
    for number in range(1, buckets + 1):
        free_ms = max(free_ms, BACKWARD_MS * number / buckets) + wire_ms
    return free_ms - BACKWARD_MS


def overlap() -> Numbers:
    flat, fast, slow = BUCKETS * FAST_MS, exposed_ms(FAST_MS), exposed_ms(SLOW_MS)
    fill, at_once = BACKWARD_MS / BUCKETS, BUCKETS * SLOW_MS
    asked = [
        Quantity(flat, too_early=0.0, one_bucket=FAST_MS, with_backward=BACKWARD_MS + flat, in_seconds=flat / 1e3),
        Quantity(fast, last_hidden=0.0, in_one=flat, hidden=flat - fast, in_seconds=fast / 1e3),
        Quantity(
            slow, last_alone=SLOW_MS, slow_in_one=at_once, from_start=at_once - BACKWARD_MS, last_hidden=0.0,
            in_seconds=slow / 1e3,
        ),
    ]  # fmt: skip
    return asked, {"flat": flat, "fast": fast, "slow": slow, "fill": fill, "back": fill + at_once}


def mean_or_sum() -> Numbers:
    n, rate = RANKS, RATE / RANKS
    asked = [
        Quantity(n - 1, the_factor=n, of_the_sum=1 - 1 / n, equal=0),
        Quantity(rate, same_rate=RATE, larger=n * RATE),
    ]
    return asked, {"difference": n - 1, "right_rate": rate}


def messages(gradient_bytes: Sequence[int]) -> Numbers:
    """Return the number of buckets: each takes gradients in order until it has LEAST_MB, the last what is left.

    gradient_bytes  of each gradient, in the order in which the backward computes them
    """
    count, held, least_bytes = 0, 0, int(LEAST_MB * MB)
    for size in gradient_bytes:
        held += size
        if held >= least_bytes:
            count, held = count + 1, 0
    count, whole = count + (held > 0), sum(gradient_bytes)
    asked = Quantity(count, 0, 1, exact=whole / least_bytes, one_each=len(gradient_bytes))
    return [asked], {"messages": count, "mean_mb": whole / count / 1e6}


def ring_ms(link: Link, tensor_bytes: int) -> float:
    """Return the time of a ring all-reduce on RANKS ranks."""
    cost = formulas.ring("all_reduce", RANKS, 0, tensor_bytes)
    return 1e3 * link.time_s(cost.rounds, cost.bytes)


def exposed(links: Sequence[Link], tensor_bytes: int, last_bytes: int) -> Numbers:
    """Return the exposed milliseconds: flat on both links, and in buckets on the first, where only the last is."""
    flat, slow = (ring_ms(link, tensor_bytes) for link in links)
    bucket = ring_ms(links[0], last_bytes)
    once, slow_once = (1e3 * tensor_bytes / link.bytes_per_s for link in links)
    asked = [
        Quantity(flat, 0.1, once=once, bits=flat / 8, in_seconds=flat / 1e3, other_link=slow),
        Quantity(slow, 0.1, once=slow_once, bits=slow / 8, in_seconds=slow / 1e3, other_link=flat),
        Quantity(bucket, 0.1, all_of_it=flat, nothing=0, once=1e3 * last_bytes / links[0].bytes_per_s),
    ]
    times = {"fast_ms": flat, "slow_ms": slow, "bucket_ms": bucket}
    return asked, {"latency_us": 1e6 * links[0].latency_s, **times}


def factors() -> Numbers:
    n, blocks = RANKS, BATCH_BLOCKS
    asked = [Quantity(n, none=1, per_block=blocks), Quantity(blocks, none=1, per_rank=n)]
    return asked, {}


# ---------------------------------------------------------------------- 01b
BLOCKS = 10_000  # of 01.6: enough for measured fractions within 0.02 of the expected ones
TOLERANCE = 0.03  # tells 1/5 from 1/4
OWN_BLOCKS = 4  # of 01.g: per rank and step
_SHARDINGS = (Hash(), Rendezvous())


def moved_blocks() -> Numbers:
    """Return which fraction of the blocks moves when a fifth rank joins: expected, and counted for the explanation."""
    modulo, rendezvous = (moved(each.assign(BLOCKS, RANKS), each.assign(BLOCKS, RANKS + 1)) for each in _SHARDINGS)
    stay, fair = 1 / (RANKS + 1), 1 / RANKS
    asked = [
        Quantity(
            1 - stay, 0, TOLERANCE, stays=stay, new_ones=fair, near=1 - fair, everything=1.0, percent=100 * (1 - stay)
        ),
        Quantity(stay, 0, TOLERANCE, old_share=fair, nothing=0.0, by_modulo=1 - stay, percent=100 * stay),
    ]
    sizes = {"n": RANKS, "more": RANKS + 1, "product": RANKS * (RANKS + 1), "blocks": BLOCKS}
    return asked, {"modulo": modulo, "rendezvous": rendezvous, "stay": stay, "leave": 1 - stay, **sizes}


def accumulated_bytes(parameters: int, microbatches: int) -> Numbers:
    """Return the tensor bytes that each rank puts into all-reduces per step: aggregated once, and each time."""
    whole, m = parameters * FLOAT64_BYTES, microbatches
    ring = formulas.ring("all_reduce", RANKS, 0, parameters, FLOAT64_BYTES).bytes
    asked = [
        Quantity(whole, 0.05, elements=parameters, every_time=m * whole, part=whole / m, ring=ring),
        Quantity(m * whole, 0.05, elements=m * parameters, no_sync=whole, ring=m * ring),
    ]
    return asked, {"m": m, "once": whole, "each": m * whole}


def loss_weights(blocks: Sequence[int]) -> Numbers:
    """Return the weight of each rank's mean loss, for the mean over ranks to be that over all blocks."""
    n, batch = len(blocks), sum(blocks)
    weights = [n * own / batch for own in blocks]
    asked = [Quantity(each, 0.02, share=each / n, blocks=own) for each, own in zip(weights, blocks, strict=True)]
    return asked, {"weights": ", ".join(f"{n} · {own}/{batch} = {n * own / batch:g}" for own in blocks)}


def steps_of_epoch(by_range: Sequence[int], by_rendezvous: Sequence[int]) -> Numbers:
    """Return the steps until every rank has read all of its blocks, of which there are so many per rank."""
    asked = []
    for blocks in (by_range, by_rendezvous):
        steps, mean = ceil(max(blocks) / OWN_BLOCKS), sum(blocks) / len(blocks)
        misses = {
            "emptiest": ceil(min(blocks) / OWN_BLOCKS), "whole_only": max(blocks) // OWN_BLOCKS,
            "by_mean": ceil(mean / OWN_BLOCKS), "one_by_one": max(blocks), "all_blocks": ceil(sum(blocks) / OWN_BLOCKS),
        }  # fmt: skip
        asked.append(Quantity(steps, **{miss: value for miss, value in misses.items() if value != steps}))
    even, uneven = (each.right for each in asked)
    return asked, {"range": even, "rendezvous": uneven, "fullest": max(by_rendezvous), "more": uneven / even - 1}


def replicas_apart() -> Numbers:
    """Return how far apart replicas are after training on averaged gradients, in terms of their distance before."""
    return [Quantity(1.0, 0.05, pulled=0.0, averaged=1 / RANKS, apart=RANKS)], {}


# ---------------------------------------------------------------------- 01c
PARAMETER, GRADIENT, STATE = 8, 8, 16  # of 01.10: bytes per parameter in float64; AdamW keeps two moments


def stage_bytes(parameters: int, ranks: int = RANKS) -> tuple[float, float, float]:
    """Return the bytes per rank of parameters, gradients and AdamW's state under ZeRO-1, 2 and 3, in float64.

    Rajbhandari et al. 2020, "ZeRO" (SC 20), section 5 and figure 1, with 8 + 8 + 16 bytes for their 2 + 2 + 12.
    """
    kept = ((PARAMETER + GRADIENT, STATE), (PARAMETER, GRADIENT + STATE), (0, PARAMETER + GRADIENT + STATE))
    return tuple(parameters * (whole + sharded / ranks) for whole, sharded in kept)


def zero_bytes(parameters: int) -> Numbers:
    plain, n = parameters * (PARAMETER + GRADIENT + STATE), RANKS
    stages = stage_bytes(parameters)
    in_half = (parameters * (2 + 2 + 12 / n), parameters * (2 + 14 / n), parameters * 16 / n)
    asked = []
    for right, half in zip(stages, in_half, strict=True):
        misses = {
            "unsharded": plain, "half": right / 2, "in_half": half, "all_ranks": right * n, "all_pieces": plain / n,
            "no_state": parameters * (PARAMETER + GRADIENT),
        }  # fmt: skip
        others = {miss: value for miss, value in misses.items() if not isclose(value, right, rel_tol=1e-3)}
        asked.append(Quantity(right, 1e-6, **others))
    return asked, {"parameters": parameters, "plain": plain, **dict(zip(("one", "two", "three"), stages, strict=True))}


# ---------------------------------------------------------------------- 01d
SLOW, PACE_S = 3, {1: 1.0, 2: 1.0, 3: 4.0}  # of the workers in 01.14
FEW, MANY = 2, 64  # workers in 01.m
PAUSED_S = {  # of 01.n: each worker is slow in every twelfth step, but not at the same time
    worker: tuple(5.0 if step == slow else 1.0 for step in range(12)) for worker, slow in ((1, 3), (2, 7), (3, 11))
}
PAUSED_UPDATES = 36  # of 01.n: 12 per worker


def link_bytes(ranks: int, parameters: int) -> Numbers:
    whole, workers = parameters * FLOAT64_BYTES, ranks - 1
    right, ring = 2 * workers * whole, formulas.ring("all_reduce", ranks, 0, parameters, FLOAT64_BYTES).bytes
    asked = Quantity(
        right, WITHIN, half=right / 2, elements=right / FLOAT64_BYTES, with_server=2 * ranks * whole,
        one_worker=2 * whole, by_ring=ring,
    )  # fmt: skip
    return [asked], {"workers": workers, "parameters": parameters, "bytes": right}


def paced(pace_s: Mapping[int, Pace], bound: int | None = None) -> Iterator[Applied]:
    """Yield what an asynchronous server applies from workers whose steps take that long."""
    clocks, pacing = Clocks(pace_s, bound), Pacing(pace_s)
    while True:
        worker = pacing.first(clocks.computing)
        at_s = pacing.due_s[worker]
        yield clocks.apply(worker, at_s)
        for freed in clocks.pull():
            pacing.start(freed, at_s)


def staleness() -> Numbers:
    log = list(islice(paced(PACE_S), 90))
    slow = max(each.staleness for each in log if each.worker == SLOW)
    fast = max(each.staleness for each in log[9:] if each.worker != SLOW)
    part = sum(each.worker == SLOW for each in log) / len(log)
    asked = [
        Quantity(slow, one_of_two=slow / 2, own=slow + 1, one_round=1, one_step=3),
        Quantity(fast, usual=1, fresh=0, of_slow=slow),
        Quantity(part, 0.01, waiting=1 / 3, one_fast=1 / 4, of_others=1 / 8, percent=100 * part),
    ]
    return asked, {}


def more_workers() -> Numbers:
    """Return how much longer a gradient's way takes with MANY workers than with FEW: by a server, and in a ring."""
    more, ring = MANY / FEW, ((MANY - 1) / MANY) / ((FEW - 1) / FEW)
    asked = [
        Quantity(more, 0.05, itself=(MANY - 1) / (FEW - 1), parallel=1, as_tree=6),
        Quantity(ring, 0.05, none=1, rounds=(MANY - 1) / (FEW - 1), as_server=more),
    ]
    return asked, {"server": more, "ring": ring}


def paused() -> Numbers:
    """Return the seconds that PAUSED_UPDATES take where each worker is slow now and then: bound 0, and no bound."""
    waiting, free = (next(islice(paced(PAUSED_S, bound), PAUSED_UPDATES - 1, None)).at_s for bound in (0, None))
    own = PAUSED_S[SLOW]
    asked = [
        Quantity(waiting, 0.01, one_pause=sum(own), no_pause=len(own), every_round=len(own) * max(own)),
        Quantity(free, 0.01, all_wait=waiting, unpaused=len(own)),
    ]
    return asked, {"waiting": waiting, "free": free}


def copied_parameters() -> Numbers:
    """Return what is sent in a step, in units of the parameters' bytes: DataParallel's devices, and a ring's ranks."""
    n, ring = RANKS, 2 * (RANKS - 1) / RANKS
    asked = [
        Quantity(n - 1, 0.01, broadcast=1, itself=n, and_received=2 * (n - 1), of_ring=ring),
        Quantity(1, 0.01, nothing=0, own_part=1 / n, also_received=2, with_ring=ring),
        Quantity(ring, 0.01, half_ring=ring / 2, once=1, both_halves=2, to_each=n - 1),
    ]
    return asked, {"others": n - 1, "ring": ring}


def noise_floor() -> Numbers:
    """Return the lowest expected held-out loss where labels are uniform in [0, 1) and independent of the inputs."""
    right = 1 / 12
    asked = Quantity(
        right, 0.05, learnt=0, always_0=1 / 3, drawn=2 * right, deviation=right**0.5, distance=1 / 4,
    )  # fmt: skip
    return [asked], {"variance": right}
