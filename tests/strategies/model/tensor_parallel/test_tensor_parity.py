"""A model split over tp computes what the unsplit one does: loss, every gradient, ten steps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
from tensor_programs import gpt, grouped, grouped_plan, train, train_serially

from lab_utils import start_ranks
from lab_utils.ranks import Ranks
from lab_utils.strategies.mesh import Mesh
from lab_utils.strategies.mixed_precision import compute_in_bfloat16, recompute
from lab_utils.strategies.parity import parity

MESHES = [Mesh(tp=2), Mesh(tp=4), Mesh(dp=2, tp=2), Mesh(dp=4)]
serially = cache(train_serially)


@pytest.fixture(scope="module")
def ranks1() -> Iterator[Ranks]:
    with start_ranks(1) as ranks:
        yield ranks


def test_one_rank_is_plain_torch(ranks1: Ranks) -> None:
    def split_alone() -> tuple[dict, bool]:
        from lab_utils.strategies.model.tensor_parallel import plans, split

        model = split(gpt(dropout=0.2), plans.GPT, Mesh())
        return train(Mesh(), False, dropout=0.2), all(
            "tensor_parallel" not in type(m).__module__ for m in model.modules()
        )

    ((snapshot, plain),) = ranks1.run(split_alone)
    assert plain
    assert parity(serially(dropout=0.2), [snapshot], 1e-10).equal


@pytest.mark.parametrize("sequence", [False, True], ids=["", "sequence"])
@pytest.mark.parametrize("mesh", MESHES, ids=str)
def test_equals_serial_with_tied_weights_bias_dropout_and_clipping(mesh: Mesh, sequence: bool, request) -> None:
    ranks = request.getfixturevalue(f"ranks{mesh.ranks}")
    found = parity(serially(dropout=0.2), ranks.run(train, mesh, sequence, dropout=0.2), 1e-10)
    assert found.equal, found


@pytest.mark.parametrize("sequence", [False, True], ids=["", "sequence"])
def test_equals_serial_untied(ranks2: Ranks, sequence: bool) -> None:
    changes = {"tied": False, "steps": 2}
    found = parity(serially(**changes), ranks2.run(train, Mesh(tp=2), sequence, **changes), 1e-10)
    assert found.equal, found


@pytest.mark.parametrize(
    ("mesh", "kv_heads", "sequence"),
    [(Mesh(tp=2), 2, True), (Mesh(tp=4), 2, False), (Mesh(tp=4), 1, True), (Mesh(dp=2, tp=2), 1, False)],
    ids=str,
)
def test_equals_serial_with_fewer_kv_heads_than_ranks(mesh: Mesh, kv_heads: int, sequence: bool, request) -> None:
    ranks = request.getfixturevalue(f"ranks{mesh.ranks}")
    snapshots = ranks.run(train, mesh, sequence, make=grouped, plan=grouped_plan, kv_heads=kv_heads)
    found = parity(serially(make=grouped, kv_heads=kv_heads), snapshots, 1e-10)
    assert found.equal, found


@pytest.mark.parametrize("sequence", [False, True], ids=["", "sequence"])
def test_recomputing_repeats_masks_and_messages(ranks2: Ranks, sequence: bool) -> None:
    def recomputed(model) -> None:
        recompute(model.blocks)

    snapshots = ranks2.run(train, Mesh(tp=2), sequence, steps=3, attach=recomputed, dropout=0.2)
    found = parity(serially(steps=3, dropout=0.2), snapshots, 1e-10)
    assert found.equal, found


@pytest.mark.parametrize("sequence", [False, True], ids=["", "sequence"])
def test_bfloat16_is_as_near_to_serial_as_its_digits(ranks2: Ranks, sequence: bool) -> None:
    """8 bits: products differ by 2^-8 or so; parameters, gradients and optimizer stay float32."""

    def single(**changes):
        return gpt(**changes).float()

    def half(model) -> None:
        compute_in_bfloat16(model)
        recompute(model.blocks)

    snapshots = ranks2.run(train, Mesh(tp=2), sequence, steps=1, make=single, attach=half)
    loss, gradients, _ = parity(serially(steps=1), snapshots).differences
    assert loss.max_rel < 1e-2 and 1e-4 < gradients.max_rel < 0.1, gradients
    assert all(each.dtype == "float32" for each in snapshots[0]["gradients"].values())
