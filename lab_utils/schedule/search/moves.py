"""The search's inner loops, compiled: placing orders in time and improving them by moves (codes: order_by_rules.py)."""

from __future__ import annotations

import numpy as np
from numba import njit

from lab_utils.schedule.search.order_by_rules import MODEL, NEVER, ROOM, B, F, W
from lab_utils.timeline.numba_jit import OPTIONS, compiled


@compiled(f"boolean(int64[:, ::1], {MODEL}, int64, float64[:, :, ::1], float64[::1])")
def placed(orders, stages_of, owner, cost, comm, microbatches, came, ends):
    """Place each op as early as possible; fill ends[ranks]. False when ranks wait for each other in a circle.

    came   float64[2, stages, microbatches]: buffer for the ends of F and B
    """
    p, v = stages_of.shape
    last, n = p * v - 1, orders.shape[1]
    done, at = np.zeros((3, p * v), np.int64), np.zeros(p, np.int64)
    came[:] = -1.0
    ends[:] = 0.0
    left = orders.size
    while left:
        before = left
        for turn in range(2 * p):  # down and up the pipeline
            r = min(turn, 2 * p - 1 - turn)
            i, now = at[r], ends[r]
            while i < n:
                kind, j = divmod(orders[r, i], v)
                s = stages_of[r, j]
                k = done[kind, s]
                if kind != W and not (kind == F and s == 0):
                    way, source = (F, s - 1) if kind == F else (B, s + 1)
                    if kind == B and s == last:
                        way, source = F, s
                    arrives = came[way, source, k]
                    if arrives < 0.0:
                        break
                    now = max(now, arrives + (comm if owner[source] != r else 0.0))
                now += cost[kind, s]
                if kind != W:
                    came[kind, s, k] = now
                done[kind, s] = k + 1
                i += 1
            left -= i - at[r]
            at[r], ends[r] = i, now
        if left == before:
            return False
    return True


@compiled("float64(int64[::1], int64[::1], float64[::1], float64)")
def peak(order, stages, weight, kept):
    """Peak memory of a rank with this order of ops; infinite when a B precedes its F or a W its B."""
    v = len(stages)
    done = np.zeros(3 * v, np.int64)
    live, most = 0.0, 0.0
    for code in order:
        kind, j = divmod(code, v)
        done[code] += 1
        if kind != F and done[code] > done[code - v]:
            return NEVER
        live += weight[stages[j]] * (1.0 if kind == F else kept - 1.0 if kind == B else -kept)
        most = max(most, live)
    return most


@njit("int64(uint64[::1], int64)", inline="always", **OPTIONS)
def _random(state, below):
    """Random integer in 0 .. below - 1, portable (a linear congruential generator; Knuth's constants)."""
    state[0] = state[0] * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
    return np.int64(state[0] >> np.uint64(33)) % below


@compiled("void(int64[::1], int64[::1], uint64[::1])")
def _move(order, old, state):
    """Move one op a few places, or all ops of one code within an interval one place earlier or later."""
    n = len(order)
    i = _random(state, n)
    code = old[i]
    if _random(state, 5) < 3:
        far = 1 + _random(state, 15 if _random(state, 5) == 0 else 3)
        to = i + far if _random(state, 2) else i - far
        if 0 <= to < n:
            if to > i:
                order[i:to] = old[i + 1 : to + 1]
            else:
                order[to + 1 : i + 1] = old[to:i]
            order[to] = code
        return
    first = _random(state, n)
    end = min(n, first + 2 + _random(state, n))
    if _random(state, 2):
        for k in range(max(1, first), end):
            if order[k] == code and order[k - 1] != code:
                order[k], order[k - 1] = order[k - 1], code
    else:
        for k in range(min(end, n - 1) - 1, first - 1, -1):
            if order[k] == code and order[k + 1] != code:
                order[k], order[k + 1] = order[k + 1], code


@compiled("float64(float64[::1], float64[::1])")
def score(ends, offset):
    """The search's objective: the longest rank, plus a small weight on the mean, so that there is a descent."""
    length = ends - offset
    return length.max() + 0.02 * length.mean()


@compiled(f"float64(int64[:, ::1], {MODEL}, {ROOM}, int64, float64[::1], int64, float64, uint64[::1])")
def climb(orders, stages_of, owner, cost, comm, weight, kept, limit, microbatches, offset, steps, goal, state):
    """Try moves and keep those that are not worse, until `goal` is reached. Return the longest end - offset."""
    p, v = stages_of.shape
    came, ends = np.empty((2, p * v, microbatches)), np.empty(p)
    placed(orders, stages_of, owner, cost, comm, microbatches, came, ends)
    longest, worth = (ends - offset).max(), score(ends, offset)
    for _ in range(steps):
        if longest <= goal:
            break
        r = _random(state, p)
        old = orders[r].copy()
        _move(orders[r], old, state)
        fine = peak(orders[r], stages_of[r], weight, kept) <= limit[r]
        fine = fine and placed(orders, stages_of, owner, cost, comm, microbatches, came, ends)
        if fine and score(ends, offset) <= worth:
            longest, worth = (ends - offset).max(), score(ends, offset)
        else:
            orders[r] = old
    return longest
