"""The search's inner loop, compiled: an event-driven simulation that builds an order by rules.

An order is int64[ranks, ops] of codes kind * virtual_stages + virtual_stage, with F = 0, B = 1, W = 2. The micro-batch
is implicit, as each kind of a virtual stage runs micro-batches in turn. stages_of[rank, virtual_stage] is its stage in
the model, with a rank's virtual stages in model order.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from lab_utils.timeline.numba_jit import OPTIONS, compiled

F, B, W = 0, 1, 2
NEVER = np.inf
HIGH, LOW, EARLIEST, OLDEST = range(4)  # priority among a rank's virtual stages

MODEL = "int64[:, ::1], int64[::1], float64[:, ::1], float64"  # stages_of, owner, cost, comm
ROOM = "float64[::1], float64, float64[::1]"  # weight, kept, limit


@njit("float64(int64, float64, int64, int64)", inline="always", **OPTIONS)
def _urgency(rule, came, number, virtual_stage):
    """Priority of a virtual stage's op; the smallest runs first."""
    if rule == EARLIEST:
        return came
    if rule == OLDEST:
        return float(number)
    return float(virtual_stage) if rule == LOW else -float(virtual_stage)


@njit(**OPTIONS)
def _choice(stages, cost, room, limit, live, m, counts, patience, rule, ready, done, now):
    """Choose a rank's next op: (kind, virtual stage, 0), or (-1, 0, time of the next attempt)."""
    head, ahead, wait, late = counts
    b_at, f_at, w_at = -1, -1, -1
    b_first, f_first, next_b, next_f = NEVER, NEVER, NEVER, NEVER
    for j in range(len(stages)):
        s = stages[j]
        k = done[B, s]
        if k < m and ready[B, s, k] <= now:
            urgency = _urgency(rule[0], ready[B, s, k], k, j)
            if urgency < b_first:
                b_at, b_first = j, urgency
        elif k < m:
            next_b = min(next_b, ready[B, s, k])
        n = done[F, s]
        if n < m and n - k < (ahead[s] if k else head[s]) and live + room[s] <= limit:
            if ready[F, s, n] > now:
                next_f = min(next_f, ready[F, s, n])
            else:
                urgency = _urgency(rule[1], ready[F, s, n], n, j)
                if urgency < f_first:
                    f_at, f_first = j, urgency
        if done[W, s] < k and (w_at < 0 or cost[W, s] > cost[W, stages[w_at]]):
            w_at = j
    if w_at >= 0:
        s = stages[w_at]
        if done[B, s] - done[W, s] > wait[s] and done[B, s] < m - late[s]:
            return W, w_at, 0.0
    if b_at >= 0 and not (f_at >= 0 and rule[2]):
        return B, b_at, 0.0
    if f_at >= 0 and next_b > now + patience[0] * cost[F, stages[f_at]]:
        return F, f_at, 0.0
    if w_at >= 0 and min(next_b, next_f) > now + patience[1] * cost[W, stages[w_at]]:
        return W, w_at, 0.0
    return -1, 0, min(next_b, next_f)


@compiled(f"boolean({MODEL}, {ROOM}, int64, int64[:, ::1], float64[::1], int64[::1], int64[:, ::1], float64[::1])")
def build(stages_of, owner, cost, comm, weight, kept, limit, microbatches, counts, patience, rule, orders, ends):
    """Simulate the ranks event by event; fill orders and ends[ranks]. False on deadlock.

    counts     [4, stages]: forwards before the first backward; forwards ahead of backwards after that; weight gradients
               that may be pending; number of the last micro-batches for which any number may be pending
    patience   fraction of a forward, of a weight gradient, that a rank waits for a more urgent op in flight
    rule       priority among B, priority among F, and whether F goes before B
    """
    p, v = stages_of.shape
    stages, m = p * v, microbatches
    room = np.zeros(stages)  # a stage leaves room for one micro-batch on the rank's later ones: none is starved
    for r in range(p):
        behind = 0.0
        for j in range(v - 1, -1, -1):
            behind += weight[stages_of[r, j]]
            room[stages_of[r, j]] = behind
    ready = np.full((2, stages, m), NEVER)
    ready[F, 0] = 0.0
    done, live, count = np.zeros((3, stages), np.int64), np.zeros(p), np.zeros(p, np.int64)
    ends[:] = 0.0
    when = np.full(p, NEVER)
    when[owner[0]] = 0.0
    left = orders.size
    while left:
        r = np.argmin(when)
        now = when[r]
        if now == NEVER:
            return False
        kind, j, until = _choice(
            stages_of[r], cost, room, limit[r], live[r], m, counts, patience, rule, ready, done, now
        )
        if kind < 0:
            when[r] = until
            continue
        s = stages_of[r, j]
        k = done[kind, s]
        orders[r, count[r]] = kind * v + j
        count[r] += 1
        left -= 1
        done[kind, s] = k + 1
        ends[r] = when[r] = now + cost[kind, s]
        live[r] += weight[s] * (1.0 if kind == F else kept - 1.0 if kind == B else -kept)
        to, way = (s + 1, F) if kind == F else (s - 1, B)
        if kind == F and s == stages - 1:
            to, way = s, B
        if kind == W or to < 0:
            continue
        q = owner[to]
        ready[way, to, k] = ends[r] + (comm if q != r else 0.0)
        if q != r:
            when[q] = min(when[q], max(ends[q], ready[way, to, k]))
    return True
