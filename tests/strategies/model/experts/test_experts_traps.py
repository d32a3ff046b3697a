"""The silent bugs of mixtures of experts, each planted, with the value that tells it."""

from __future__ import annotations

import math

import experts_planted as planted
import experts_programs as programs
import numpy as np
import pytest
import torch

from lab_utils.ranks import Ranks, RanksStuck
from lab_utils.strategies.model.experts import dispatch
from lab_utils.strategies.parity import parity

EP = {"dp": 2, "ep": 2}
EP_TP = {"dp": 2, "tp": 2, "ep": 2}
LAST = "blocks.1.mlp.router.weight"


@pytest.fixture(scope="module")
def serial() -> dict:
    return planted.right()


def relative(found: np.ndarray | torch.Tensor, expected: torch.Tensor) -> float:
    return (np.abs(np.asarray(found) - expected.numpy()).max() / expected.abs().max()).item()


def is_expert(name: str) -> bool:
    return ".mlp.experts." in name


@pytest.mark.parametrize("degrees", [{"dp": 4, "ep": 2}, {"dp": 4, "ep": 4}])
def test_trap_17_experts_averaged_over_their_own_ranks_alone_are_ep_times_too_large(
    ranks4: Ranks, serial: dict, degrees: dict
) -> None:
    found = ranks4.run(planted.averaged, degrees)[0]["gradients"]
    for name, expected in serial["gradients"].items():
        factor = degrees["ep"] if is_expert(name) else 1
        assert relative(found[name], factor * expected) < 1e-10, name
    assert parity(serial, ranks4.run(planted.right, degrees)).equal, "summed, they need no factor"


def test_trap_18_router_gradients_without_their_sum_over_tp(ranks2: Ranks, serial: dict) -> None:
    """The loss is right, and each rank has what its part of the experts' width gives; these add up."""
    found = ranks2.run(planted.without_the_sum_over_tp, {"tp": 2})
    assert all(each["loss"] == pytest.approx(serial["loss"], rel=1e-12) for each in found)
    parts, expected = [each["gradients"][LAST] for each in found], serial["gradients"][LAST]
    assert all(relative(part, expected) > 0.1 for part in parts)
    assert relative(sum(parts), expected) < 1e-10


def test_trap_18_router_gradients_without_their_sum_over_ep(ranks2: Ranks, serial: dict) -> None:
    found = ranks2.run(planted.without_the_sum_over_ep, EP)
    parts, expected = [each["gradients"][LAST] for each in found], serial["gradients"][LAST]
    assert all(each["loss"] == pytest.approx(serial["loss"], rel=1e-12) for each in found)
    assert all(relative(part, expected) > 0.1 for part in parts)
    assert relative(sum(parts), expected) < 1e-10


def test_trap_18_a_plain_all_gather_detaches_the_router(ranks2: Ranks, serial: dict) -> None:
    """The loss includes the balance loss; the gradient is that without it."""
    balanced = planted.right(options=programs.WITH_ALL)
    found = ranks2.run(planted.detached, EP)[0]
    assert found["loss"] == pytest.approx(balanced["loss"], rel=1e-12) and found["loss"] > serial["loss"] + 0.01
    assert relative(found["gradients"][LAST], serial["gradients"][LAST]) < 1e-10
    assert relative(found["gradients"][LAST], balanced["gradients"][LAST]) > 1e-3


def test_trap_19_a_rank_without_tokens_takes_part_and_its_gradients_are_zeros(ranks2: Ranks) -> None:
    expected, _ = planted.starved()
    found = ranks2.run(planted.starved, EP)
    assert parity(expected, [snapshot for snapshot, _ in found]).equal
    (_, fed), (_, starved) = found
    assert min(fed) > 0 and starved == [0.0] * 4


def test_trap_19_a_rank_that_leaves_early_lets_the_others_wait(ranks2: Ranks) -> None:
    with pytest.raises(RanksStuck, match="all_to_all"):
        ranks2.run(planted.left_early, EP)


SPLITS = [(2, {"dp": 2}), (2, {"cp": 2}), (2, {"tp": 2}), (4, {"dp": 2, "cp": 2, "ep": 4}), (4, {"cp": 2, "tp": 2})]


@pytest.fixture(scope="module")
def balance_alone() -> list[torch.Tensor]:
    return planted.balance_alone()


@pytest.mark.parametrize(("size", "degrees"), SPLITS)
def test_trap_20_the_balance_losss_gradient_is_the_same_on_every_split(
    request: pytest.FixtureRequest, balance_alone: list, size: int, degrees: dict
) -> None:
    ranks = request.getfixturevalue(f"ranks{size}")
    for found in ranks.run(planted.balance_alone, degrees):
        assert max(map(relative, found, balance_alone)) < 1e-10


@pytest.mark.parametrize("micro", [2, 4])
def test_trap_20_and_for_any_number_of_micro_batches(balance_alone: list, micro: int) -> None:
    assert max(map(relative, planted.balance_alone(micro=micro), balance_alone)) < 1e-10
    own = planted.balance_alone(micro=micro, own_counts=True)
    assert min(map(relative, own, balance_alone)) > 0.01, "each with its own counts"


def test_trap_20_planted_on_ranks(ranks2: Ranks, balance_alone: list) -> None:
    for degrees in ({"dp": 2}, {"cp": 2}):
        own = ranks2.run(planted.balance_alone, degrees, own_counts=True)[0]
        assert min(map(relative, own, balance_alone)) > 0.01, degrees
    twice = ranks2.run(planted.balance_alone, {"tp": 2}, summed_over_tp=True)[0]
    assert max(map(relative, twice, [2 * each for each in balance_alone])) < 1e-10, "each rank of tp has all of it"


def test_trap_21_the_norm_has_the_experts_on_every_split(ranks4: Ranks) -> None:
    serial = planted.norms()
    rest = math.sqrt(serial["whole"] ** 2 - serial["experts"] ** 2)
    for found in ranks4.run(planted.norms, EP_TP):
        assert found["right"] == pytest.approx(serial["whole"], rel=1e-10)
        assert found["without experts"] == pytest.approx(rest, rel=1e-10)
        assert found["own"] < 0.99 * serial["whole"]


def test_trap_21_ranks_of_tp_that_hold_other_parts_are_not_mixed(ranks4: Ranks, serial: dict) -> None:
    whole, mixed = (ranks4.run(planted.summed_over_tp_too, EP_TP, over_tp)[0] for over_tp in (False, True))
    for name, expected in serial["gradients"].items():
        factor = 2 if is_expert(name) else 1
        assert relative(whole["gradients"][name], factor * expected) < 1e-10
        if is_expert(name):
            found = mixed["gradients"][name]
            assert relative(found, expected) > 0.1 and relative(found, 2 * expected) > 0.1
    assert parity(serial, ranks4.run(planted.right, EP_TP, over_tp=False)).equal


# ---------------------------------------------------------------------- 22, without ranks
CHOSEN = torch.tensor([[0, 1], [0, 2], [1, 0], [0, 1], [3, 0], [0, 3]])


@pytest.mark.parametrize(("factor", "capacity"), [(1.0, 3), (1.25, 4), (0.5, 2), (4.0, 12)])
def test_trap_22_capacity_is_rounded_up(factor: float, capacity: int) -> None:
    assert dispatch.capacity(CHOSEN.numel(), 4, factor) == capacity == math.ceil(6 * 2 / 4 * factor)


def test_trap_22_first_choices_then_earlier_tokens_are_kept() -> None:
    found = dispatch.plan(CHOSEN, 4, capacity_factor=1.0)  # three choices each
    assert found.dropped.tolist() == [3, 0, 0, 0] and found.counts.tolist() == [3, 3, 1, 2]
    kept = sorted(found.choices.tolist())
    assert [divmod(choice, 2) for choice in kept if CHOSEN.flatten()[choice] == 0] == [(0, 0), (1, 0), (3, 0)]


def test_trap_22_each_dispatch_group_has_a_capacity_of_its_own() -> None:
    halves = [dispatch.plan(each, 4, capacity_factor=1.0) for each in CHOSEN.chunk(2)]
    both = dispatch.plan(CHOSEN, 4, capacity_factor=1.0, groups=2)  # ⌈3 · 2 / 4⌉ = 2 of each
    assert both.dropped.tolist() == sum(each.dropped for each in halves).tolist() == [2, 0, 0, 0]
    first, second = (each.choices for each in halves)
    assert sorted(both.choices.tolist()) == sorted([*first.tolist(), *(second + 6).tolist()])
    one = dispatch.plan(CHOSEN, 4, capacity_factor=1.0)
    assert one.dropped.tolist() != both.dropped.tolist()


def test_trap_22_a_large_factor_equals_dropless() -> None:
    free, large = dispatch.plan(CHOSEN, 4), dispatch.plan(CHOSEN, 4, capacity_factor=4.0)
    assert free.choices.tolist() == large.choices.tolist() and large.dropped.tolist() == [0] * 4
    without, with_factor = (
        planted.right(options={**planted.EVEN, "capacity_factor": factor}) for factor in (None, 4.0)
    )
    assert all(torch.equal(with_factor["gradients"][name], g) for name, g in without["gradients"].items())
