"""Where parameters lie: parts and wholes are each other's inverse, and a shared piece's gradient is summed once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lab_utils.ranks import Ranks
from lab_utils.strategies.mesh import Mesh
from lab_utils.strategies.model.placement import Shard

sizes = st.lists(st.integers(0, 9), min_size=1, max_size=3).map(tuple)


@given(st.integers(1, 5), sizes)
def test_the_ranks_share_out_each_part(tp: int, parts: tuple[int, ...]) -> None:
    mesh, shard = Mesh(tp=tp), Shard("tp", 0, parts)
    owned = [shard.index(mesh, {"tp": rank}).tolist() for rank in range(tp)]
    assert sorted(at for each in owned for at in each) == list(range(shard.whole))
    assert all(each == sorted(each) and shard.is_first(mesh, {"tp": rank}) for rank, each in enumerate(owned))
    one_part = [Shard("tp", 0, (size,)).index(mesh, {"tp": 0}).numel() for size in parts]
    assert len(owned[0]) == sum(one_part), "each part is cut by itself"


@given(st.integers(1, 8), st.integers(1, 8))
def test_neighbours_share_a_piece_and_one_of_them_is_the_first(tp: int, pieces: int) -> None:
    mesh, shard = Mesh(dp=2, tp=tp), Shard("tp", 0, (3 * pieces,), pieces=min(pieces, tp))
    for group in mesh.sharing("tp", min(pieces, tp)):
        places = [mesh.coordinates(rank) for rank in group]
        assert len({shard.piece(mesh, at) for at in places}) == 1
        assert [shard.is_first(mesh, at) for at in places] == [True] + [False] * (len(group) - 1)
    assert sorted(rank for group in mesh.sharing("tp", min(pieces, tp)) for rank in group) == list(range(2 * tp))


def model() -> torch.nn.ParameterDict:
    """Cut by columns, by rows of two parts, in two pieces on four ranks, and whole."""
    from lab_utils.strategies.model.placement import place

    torch.manual_seed(0)
    shapes = {"columns": (7, 3), "rows": (2, 9), "shared": (4, 2), "whole": (5,)}
    parameters = torch.nn.ParameterDict({name: torch.randn(shape) for name, shape in shapes.items()})
    place(parameters["columns"], Shard("tp", 0, (7,)))
    place(parameters["rows"], Shard("tp", 1, (4, 5)))
    place(parameters["shared"], Shard("tp", 0, (4,), pieces=2))
    place(parameters["whole"], partial=("dp", "cp", "tp"))
    return parameters


def own_model(mesh: Mesh) -> torch.nn.ParameterDict:
    from lab_utils.strategies.model.placement import own, place, placement

    whole, mine = model(), torch.nn.ParameterDict()
    for name, parameter in whole.items():
        placed = placement(parameter)
        mine[name] = place(torch.nn.Parameter(own(parameter, placed, mesh)), *placed.shards, partial=placed.partial)
    return mine


def test_state_dicts_go_to_the_unsplit_model_and_back(ranks4: Ranks) -> None:
    def there_and_back() -> tuple[dict, bool]:
        from lab_utils.strategies.model import placement

        mesh = Mesh(tp=4)
        mine = own_model(mesh)
        state = placement.state_dict(mine, mesh)
        before = {name: tensor.clone() for name, tensor in mine.state_dict().items()}
        for parameter in mine.values():
            torch.nn.init.zeros_(parameter)
        placement.load_state_dict(mine, state, mesh)
        return state, all(torch.equal(before[name], tensor) for name, tensor in mine.state_dict().items())

    for state, same in ranks4.run(there_and_back):
        assert same
        for name, tensor in model().items():
            assert np.array_equal(state[name], tensor.detach()), name


def test_gradients_are_summed_over_the_ranks_that_have_parts_of_them(ranks4: Ranks) -> None:
    """Each rank's gradient is its number: 1, 10, 100, 1000."""

    def sums(mesh: Mesh) -> dict[str, float]:
        from lab_utils.strategies.model.placement import sum_gradients

        mine = own_model(mesh)
        for parameter in mine.values():
            parameter.grad = torch.full_like(parameter, 10.0 ** torch.distributed.get_rank())
        sum_gradients(mine, mesh)
        return {name: parameter.grad.flatten()[0].item() for name, parameter in mine.items()}

    alone = ranks4.run(sums, Mesh(tp=4))
    assert [each["columns"] for each in alone] == [each["rows"] for each in alone] == [1, 10, 100, 1000]
    assert [each["shared"] for each in alone] == [11, 11, 1100, 1100]
    assert [each["whole"] for each in alone] == [1111] * 4
    over_dp = ranks4.run(sums, Mesh(dp=2, tp=2))
    assert [each["columns"] for each in over_dp] == [each["shared"] for each in over_dp] == [101, 1010, 101, 1010]
    assert [each["whole"] for each in over_dp] == [1111] * 4


@pytest.mark.parametrize("mesh", [Mesh(tp=4), Mesh(dp=2, tp=2)], ids=str)
def test_clipping_scales_by_the_norm_of_the_unsplit_model(ranks4: Ranks, mesh: Mesh) -> None:
    def clipped() -> tuple[float, dict]:
        from lab_utils.strategies.model import placement

        mine = own_model(mesh)
        for parameter in mine.values():
            parameter.grad = parameter.detach().clone()
        norm = placement.clip(mine, 1.5, mesh)
        wholes = {name: placement.whole(p.grad, placement.placement(p), mesh) for name, p in mine.items()}
        return norm.item(), wholes

    serial = model()
    for parameter in serial.values():
        parameter.grad = parameter.detach().clone()
    expected = torch.nn.utils.clip_grad_norm_(serial.values(), 1.5)
    for norm, wholes in ranks4.run(clipped):
        assert norm == pytest.approx(expected.item(), rel=1e-6)
        assert all(np.allclose(wholes[name], p.grad, rtol=1e-6) for name, p in serial.items())
