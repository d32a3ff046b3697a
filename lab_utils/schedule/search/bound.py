"""Lower bounds on the length of a schedule under a memory limit, for one stage per rank or several.

They hold for ops of any length, and for orders that run micro-batches out of turn. Derived here, for rank r, low and
high its first and last stage, L its limit, a the memory of a micro-batch on a stage:

busy     A rank starts when the first micro-batch can reach it, and then has m (F + B + W) of work.
last     From the rank's first F to the end of its last B it runs all F, all B, and all W but those that can be delayed.
         When the rank's last F starts, what it holds fits in L, and no F follows: so the W that can be delayed are that
         micro-batch's own, and others worth (L - a). After the last B follow the B of all earlier stages, and a W. With
         one stage per rank, equal stages, r = p - 1, nothing freed before W: m (F+B+W) + (p-1)(F+B+2 comm) - (L-1) W.
pauses   Before the rank's first B it can only run F, as many as fit in L. Between the end of its last F and that
         micro-batch's last B it can only run B and W of what it holds. Both intervals last at least as long as a
         micro-batch's way through the later stages: what exceeds the work that fits is idle. With one stage per rank,
         equal stages, L = p, r = 0: m (F+B+W) + (p-1)(F+B-W+4 comm), which is ZB-H1's length if comm is small. So
         ZB-H1 is optimal at its own memory and stage layout.
warm-up  The same for all ranks together, one stage per rank: the time before a rank's first B is that of the next rank
         plus F + B + 2 comm; a whole number of F fits in it, and the rest is idle unless the rank runs one more F.
memory   A rank has memory x time of L x length. A micro-batch takes a while it passes the later stages and back, and
         what is kept after B for a W; the limit cannot be filled during the first F and the last W.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lab_utils.schedule.search.problem import Problem

F, B, W = 0, 1, 2


@dataclass(frozen=True)
class Bound:
    """A lower bound `length` on every order, in the unit of the costs, and its reason in words."""

    length: float
    because: str


@dataclass(frozen=True)
class _Idle:
    before: float  # before a rank's first B
    after: float  # after its last F
    fits: float  # number of F that fit in its memory


def least(problem: Problem) -> Bound:
    """Return the largest of this module's bounds."""
    found = [bound for rank in range(problem.ranks) for bound in _of_rank(problem, rank)]
    if problem.virtual_stages == 1:
        found.append(_warm_up(problem))
    best = max(found, key=lambda bound: bound.length)
    found = [_memory(problem, rank) for rank in range(problem.ranks)]
    best = max([best, *found], key=lambda bound: bound.length)
    return Bound(float(best.length), best.because)


def _of_rank(q: Problem, rank: int) -> list[Bound]:
    begins = q.arrives[q.stages_of[rank, 0]] - q.offset[rank]
    work = q.microbatches * q.work[rank]
    idle = _pauses(q, rank)
    waits = idle.before + idle.after if _is_full(q, rank) else max(idle.before, idle.after)
    return [
        Bound(begins + work, f"rank {rank} has {work:.6g} of work to do once the first micro-batch has reached it"),
        _last(q, rank),
        Bound(
            begins + work + waits,
            f"rank {rank} has {work:.6g} of work, and must idle {idle.before:.4g} until its first backward and "
            f"{idle.after:.4g} after its last forward: its memory takes no more work to fill the way there and back",
        ),
    ]


def _way_back(q: Problem, stage: int) -> float:
    """Longest time from the end of a stage's B to the end of a W that follows from it, minus the offset of its rank."""
    longest, passed = -np.inf, 0.0
    for at in range(stage, -1, -1):
        if at < stage:
            passed += q.hop[at] + q.cost[B, at]
        longest = max(longest, passed + q.cost[W, at] - q.offset[q.owner[at]])
    return longest


def _last(q: Problem, rank: int) -> Bound:
    own = q.stages_of[rank]
    f, b, w = q.cost[:, own].sum(1)
    left = q.limit[rank] - q.weight[own].sum()
    kept = q.kept * q.weight[own]
    each = _most(left, kept, q.cost[W, own]) if (kept > 0).all() else np.inf
    waiting = min(q.microbatches * w, w + each)
    ends = q.arrives[own[0]] + q.microbatches * (f + b + w) - waiting
    after = _way_back(q, own[0])
    said = f"rank {rank} must end its last backward {after:.4g} before the end, and all its work comes before that but "
    return Bound(ends + after, said + f"{waiting:.4g} of weight gradients, which memory lets wait")


def _most(room: float, takes: np.ndarray, lasts: np.ndarray) -> float:
    """Longest total duration of ops that fit in `room`, each taking `takes` and lasting `lasts`."""
    count = np.floor(room / takes.min() + 1e-6)
    return float(max(0.0, min(count * lasts.max(), room * (1 + 1e-6) * (lasts / takes).max())))


def _is_full(q: Problem, rank: int) -> bool:
    """Whether memory keeps the rank from running all F before its first B."""
    return q.microbatches * q.weight[q.stages_of[rank]].sum() > q.limit[rank] * (1 + 1e-6)


def _behind(q: Problem, f_from: int, b_to: int) -> float:
    """Duration of F from stage f_from to the last and B back to b_to, with messages between, into and out of them."""
    enters = q.hop[f_from - 1] if f_from else 0.0
    leaves = q.hop[b_to - 1] if b_to and b_to < q.stages else 0.0
    ways = q.hop[f_from:].sum() + q.hop[b_to:].sum()
    inside = q.cost[F, f_from:].sum() + q.cost[B, b_to:].sum()
    return inside + ways + (enters if f_from < q.stages else 0.0) + leaves


def _pauses(q: Problem, rank: int) -> _Idle:
    own, m, limit = q.stages_of[rank], q.microbatches, q.limit[rank]
    low, high, weight, cost = own[0], own[-1], q.weight[own], q.cost[:, own]
    forwards = min(m * cost[F].sum(), _most(limit, weight, cost[F]))
    enters = q.hop[low - 1] if low else 0.0  # the message into the low stage does not count
    before = _behind(q, low, high + 1) - enters
    back = cost[B] + cost[W]
    others = (m - 1) * back.sum()
    rates = [back / weight] + ([cost[W] / (q.kept * weight)] if q.kept > 0 else [])
    if q.kept > 0:
        others = min(others, (limit - weight.sum()) * (1 + 1e-6) * max(rate.max() for rate in rates))
    after = _behind(q, high + 1, low + 1)
    return _Idle(max(0.0, before - forwards), max(0.0, after - others - back[1:].sum()), limit / weight.min())


def _warm_up(q: Problem) -> Bound:
    """Bisect for the shortest length that leaves each rank the idle time it needs before its first backward."""
    short, long = 0.0, float(q.microbatches * (q.cost.sum() + q.hop.sum()) * 4)
    while long - short > 1e-9 * long:
        middle = (short + long) / 2
        short, long = (short, middle) if forwards_first(q, middle) else (middle, long)
    said = "before a rank's first backward whole forwards must fill the way to the last rank and back, or it idles: "
    return Bound(short, said + "this much on the worst rank, however many forwards each of them runs")


def forwards_first(q: Problem, length: float) -> list[int]:
    """Forwards per rank before its first backward such that none idles too long for `length`; [] if one must.

    One stage per rank. A rank may idle for `length` minus its work.
    """
    counts, wait = [], float(q.cost[F, -1])
    for rank in range(q.ranks - 1, -1, -1):
        pauses, each = _pauses(q, rank), q.cost[F, rank]
        begins, work = q.arrives[rank] - q.offset[rank], q.microbatches * q.work[rank]
        allowed = length - begins - work - (pauses.after if _is_full(q, rank) else 0.0) + 1e-9 * length
        most = min(q.microbatches, int(pauses.fits + 1e-6))
        count = min(most, int(wait / each + 1e-9)) if each else most
        if allowed < 0 or (wait - count * each > allowed and count == most):
            return []
        if wait - count * each > allowed:
            count += 1
            wait = count * each
        counts.append(count)
        if rank:
            wait += q.cost[F, rank - 1] + q.cost[B, rank] + 2 * q.hop[rank - 1]
    return counts[::-1]


def _memory(q: Problem, rank: int) -> Bound:
    own, limit = q.stages_of[rank], q.limit[rank]
    weight, (f, b, w) = q.weight[own], q.cost[:, own]
    whole = np.array([_behind(q, s + 1, s + 1) for s in own]) + f + b
    taken = q.microbatches * float((weight * (whole + q.kept * w)).sum())
    none = np.finfo(np.float64).tiny
    up = _ramp(limit - weight.max(), weight / np.maximum(f, none))
    down = _ramp(
        limit - weight.max(), np.maximum(weight / np.maximum(b + w, none), q.kept * weight / np.maximum(w, none))
    )
    lost = up[0] + down[0] if up[1] + down[1] <= q.microbatches * q.work[rank] else 0.0  # they do not overlap
    begins = q.arrives[own[0]] - q.offset[rank]
    said = f"rank {rank} may hold {limit:.6g}, and its micro-batches take up that memory for so long"
    return Bound(begins + (taken + lost) / limit, said)


def _ramp(height: float, rates: np.ndarray) -> tuple[float, float]:
    """(memory x time lost, time) until a rank can have filled its memory."""
    time = max(0.0, height) / rates.max()
    return max(0.0, height) * time / 2, time
