"""The parameter server: synchronous equals serial, asynchronous is as stale as it says, and its link is a wall."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import data_programs
import data_server_programs as programs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_utils.ranks import RankError, Ranks
from lab_utils.strategies.parity import parity
from lab_utils.timeline import Trace
from lab_utils.timeline.hardware import Device, Hardware, Link

AT_ONCE = Device("computes in no time", flops_per_s=1e30, memory_bytes_per_s=1e30)
LINK = Link("1 µs, 1 GB/s", latency_s=1e-6, bytes_per_s=1e9)
ON_A_RING = Hardware(AT_ONCE, LINK, algorithm="ring")
SLOW_PACE_S = {1: 1.0, 2: 1.0, 3: 4.0}
UPDATES = 120


@pytest.mark.parametrize("size", [2, 3, 4])
def test_synchronous_equals_serial(ranks4: Ranks, size: int) -> None:
    serial = ranks4.run(data_programs.train, "serial")[0]
    server, *workers = ranks4.run(programs.synchronous, size)[:size]
    whole = parity(serial, [server], tolerance=1e-10)
    assert whole.equal, whole
    assert whole.differences[2].tensors > whole.differences[1].tensors > 40
    for worker in workers:
        assert not worker["gradients"]
        assert all(np.array_equal(p, server["parameters"][name]) for name, p in worker["parameters"].items())


def last_step_s(ranks: Ranks, program, size: int) -> tuple[float, Trace]:
    """What a step takes where computing takes no time: by how much a third one makes two longer."""
    two, three = (ranks.record(program, size, steps, count=True) for steps in (2, 3))
    return three.timeline(ON_A_RING).makespan_s - two.timeline(ON_A_RING).makespan_s, three


def test_the_wall(ranks4: Ranks) -> None:
    size_bytes = ranks4.run(programs.trained_bytes)[0]
    alpha_s, beta_s = LINK.latency_s, 1 / LINK.bytes_per_s
    note_s = alpha_s + 16 * beta_s
    server_s = {n: (n - 1) * (2 * (alpha_s + size_bytes * beta_s) + note_s) for n in (2, 4, 8)}
    ring_s = {n: 2 * (n - 1) * alpha_s + 2 * (n - 1) / n * size_bytes * beta_s for n in (2, 4, 8)}
    for n in (2, 4):
        assert last_step_s(ranks4, programs.synchronous, n)[0] == pytest.approx(server_s[n], rel=1e-6)
        assert last_step_s(ranks4, programs.all_reduced, n)[0] == pytest.approx(ring_s[n], rel=1e-6)
    assert server_s[8] / server_s[2] == pytest.approx(7)
    assert ring_s[8] / ring_s[2] < 2


def test_bytes_over_the_servers_link(ranks4: Ranks) -> None:
    size_bytes = ranks4.run(programs.trained_bytes)[0]
    trace = ranks4.record(programs.synchronous, 4, 3)
    into, out = (sum(op.bytes for op in trace.ops[0] if op.kind == kind) for kind in ("recv", "send"))
    assert (into, out) == (3 * 3 * (size_bytes + 16), 3 * 3 * size_bytes)


def first(ranks: Ranks, program, *args):
    return ranks.run(programs.first_alone, program, *args)[0]


def check_log(log: list, bound: int | None) -> None:
    """Clocks count up one by one, and staleness is what the order of the updates says where nobody waits."""
    assert [applied.number for applied in log] == list(range(1, len(log) + 1))
    for worker in (1, 2, 3):
        mine = [applied for applied in log if applied.worker == worker]
        assert [applied.clock for applied in mine] == list(range(1, len(mine) + 1))
        if bound is None:
            between = [b.number - a.number - 1 for a, b in pairwise(mine)]
            assert [applied.staleness for applied in mine] == [mine[0].number - 1, *between]
    if bound is not None:
        assert max(applied.lead for applied in log) <= bound
        assert max(applied.staleness for applied in log) <= 2 * (2 * bound + 1)


@pytest.mark.parametrize("bound", [None, 2, 0])
def test_asynchronous_is_as_stale_as_it_says(ranks4: Ranks, bound: int | None) -> None:
    found = ranks4.run(programs.asynchronous, UPDATES, slow=200, bound=bound)
    log = found[0]["log"]
    check_log(log, bound)
    counts = Counter(applied.worker for applied in log)
    late = [each["steps"] - counts[worker] for worker, each in enumerate(found)][1:]
    assert sum(counts.values()) == found[0]["updates"] == found[3]["updates"] == UPDATES
    assert set(late) <= {0, 1}
    assert found[0]["losses"][-1] < 0.15 < 0.5 < found[0]["losses"][0]
    for same in found[1:]:
        assert all(map(np.array_equal, same["parameters"], found[0]["parameters"]))
    replayed = first(ranks4, programs.replayed, log)
    for a, b in zip(found[0]["parameters"], replayed, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_bulk_synchronous_sgd_is_serial_with_the_sum(ranks4: Ranks) -> None:
    found = ranks4.run(programs.asynchronous, 30, "SGD", bound=0)[0]
    for a, b in zip(found["parameters"], first(ranks4, programs.rounds, 10, "SGD", 3.0)[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    assert [applied.staleness for applied in found["log"]] == [0, 1, 2] * 10


def test_with_a_pace_every_run_is_the_same(ranks4: Ranks) -> None:
    one, other = (ranks4.run(programs.asynchronous, 27, pace_s=SLOW_PACE_S)[0] for _ in range(2))
    assert one["log"] == other["log"] and one["losses"] == other["losses"]
    assert [applied.worker for applied in one["log"]] == [1, 2, 1, 2, 1, 2, 1, 2, 3] * 3
    assert [applied.at_s for applied in one["log"][6:12]] == [4.0, 4.0, 4.0, 5.0, 5.0, 6.0]
    assert [applied.staleness for applied in one["log"] if applied.worker == 3] == [8, 8, 8]
    check_log(one["log"], None)


def test_one_slow_rank_both_ways(ranks4: Ranks) -> None:
    """Until a loss: without waiting more updates are needed, and less time."""
    goal = 0.05
    together = first(ranks4, programs.rounds, 200, "AdamW", 1.0)[1]  # what the synchronous server does
    alone = ranks4.run(programs.asynchronous, 300, pace_s=SLOW_PACE_S)[0]
    updates = next(i for i, loss in enumerate(together, 1) if loss < goal)
    applied = next(a for a, loss in zip(alone["log"], alone["losses"], strict=True) if loss < goal)
    assert applied.number > updates
    assert applied.at_s < max(SLOW_PACE_S.values()) * updates


def test_a_pace_may_differ_from_step_to_step(ranks4: Ranks) -> None:
    """Each worker pauses once in four steps, one after the other: a bound of the pause's length hides it."""
    pace_s = {1: (3.0, 1.0, 1.0, 1.0), 2: (1.0, 3.0, 1.0, 1.0), 3: (1.0, 1.0, 1.0, 3.0)}
    ends_s = {}
    for bound in (0, 2, None):
        log = ranks4.run(programs.asynchronous, 24, pace_s=pace_s, bound=bound)[0]["log"]
        check_log(log, bound)
        ends_s[bound] = [log[number - 1].at_s for number in (12, 24)]
    assert ends_s == {0: [10.0, 20.0], 2: [6.0, 12.0], None: [6.0, 12.0]}


def test_a_bound_holds_the_fast_ones_back(ranks4: Ranks) -> None:
    bounded = ranks4.run(programs.asynchronous, 60, pace_s=SLOW_PACE_S, bound=1)[0]["log"]
    free = ranks4.run(programs.asynchronous, 60, pace_s=SLOW_PACE_S)[0]["log"]
    check_log(bounded, 1)
    assert bounded[-1].at_s > 2 * free[-1].at_s
    assert Counter(applied.worker for applied in bounded)[3] > 2 * Counter(applied.worker for applied in free)[3]


def test_two_precisions_are_two_messages(ranks4: Ranks) -> None:
    found = ranks4.run(programs.asynchronous, 60, mixed=True)
    check_log(found[0]["log"], None)
    assert found[0]["losses"][-1] < 0.5 * found[0]["losses"][0]
    assert all(map(np.array_equal, found[2]["parameters"], found[0]["parameters"]))


def test_a_slowed_rank_computes_more(ranks4: Ranks) -> None:
    trace = ranks4.record(programs.asynchronous, 6, slow=9, bound=0, count=True)
    flops = [
        sum(op.flops for op in ops) / max(1, result["steps"])
        for ops, result in zip(trace.ops, trace.results, strict=True)
    ]
    assert flops[3] > 3 * flops[2] == 3 * flops[1] > 0


def test_a_worker_without_samples_counts_for_nothing(ranks4: Ranks) -> None:
    assert [weight for weight, _ in ranks4.run(programs.without_samples)] == [-0.5] * 4
    assert ranks4.run(programs.without_samples)[0][1] == 0.0


def test_what_has_no_gradient_is_named(ranks2: Ranks) -> None:
    with pytest.raises(RankError, match=r"1\.weight got no gradient on rank 1, and the server waits for it"):
        ranks2.run(programs.without_a_gradient)


def test_paces_are_of_all_workers(ranks2: Ranks) -> None:
    with pytest.raises(RankError, match=r"pace_s={2: 1.0}: give each of the workers \[1\] more than 0 s"):
        ranks2.run(programs.asynchronous, 1, pace_s={2: 1.0})


def test_removed_is_as_it_was(ranks2: Ranks) -> None:
    assert ranks2.run(programs.removed) == [[[-0.5]]] * 2


@settings(max_examples=50)
@given(st.integers(1, 5), st.none() | st.integers(0, 3), st.lists(st.integers(0, 99), max_size=60))
def test_clocks_never_pass_their_bound(workers: int, bound: int | None, picks: list[int]) -> None:
    from lab_utils.strategies.data.parameter_server.staleness import Clocks

    clocks, began = Clocks(range(1, workers + 1), bound), dict.fromkeys(range(1, workers + 1), 0)
    for number, pick in enumerate(picks, start=1):
        worker = clocks.computing[pick % len(clocks.computing)]  # somebody always computes: nothing ever stands still
        applied = clocks.apply(worker, at_s=float(number))
        assert applied.staleness == number - 1 - began[worker]
        assert bound is None or (applied.lead <= bound and applied.staleness <= (workers - 1) * (2 * bound + 1))
        began |= dict.fromkeys(clocks.pull(), number)
        assert bound is not None or not clocks.waiting


def test_a_bound_is_no_negative_number() -> None:
    from lab_utils.strategies.data.parameter_server.staleness import Clocks

    with pytest.raises(ValueError, match="bound=-1: a worker can be 0 or more steps ahead"):
        Clocks([1, 2], bound=-1)
