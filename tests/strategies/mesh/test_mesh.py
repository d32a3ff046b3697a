"""A rank's place on the mesh and its groups are what arithmetic says, on the ranks too."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_utils.ranks import Ranks
from lab_utils.ranks.diagnosis.errors import RankDied
from lab_utils.strategies.mesh import AXES, Mesh

SMALL = st.integers(1, 4)


@st.composite
def meshes(draw: st.DrawFn) -> Mesh:
    degrees = {name: draw(SMALL) for name in AXES}
    inside = degrees["dp"] * degrees["cp"]
    return Mesh(**degrees, ep=draw(st.sampled_from([n for n in range(1, inside + 1) if inside % n == 0])))


# ---------------------------------------------------------------------- arithmetic
@given(meshes())
def test_coordinates_and_ranks_are_each_others_inverse(mesh: Mesh) -> None:
    for rank in range(mesh.ranks):
        at = mesh.coordinates(rank)
        assert mesh.rank_at(**{name: at[name] for name in AXES}) == rank
        assert rank == at["tp"] + mesh.tp * (at["cp"] + mesh.cp * (at["dp"] + mesh.dp * at["pp"]))
        assert at["dp"] * mesh.cp + at["cp"] == at["ep"] + mesh.ep * at["edp"]


@given(meshes(), st.sampled_from([("pp",), ("dp",), ("cp",), ("tp",), ("dp", "cp"), ("ep",), ("edp",), ("pp", "tp")]))
def test_groups_share_out_the_ranks_and_differ_on_their_axes_alone(mesh: Mesh, axes: tuple[str, ...]) -> None:
    groups = mesh.groups(*axes)
    size = 1
    for name in axes:
        size *= mesh.degrees[name]
    assert sorted(rank for group in groups for rank in group) == list(range(mesh.ranks))
    assert {len(group) for group in groups} == {size}
    kept = {"pp", "tp", *(("ep", "edp") if {"ep", "edp"} & set(axes) else ("dp", "cp"))} - set(axes)
    for group in groups:
        places = [mesh.coordinates(rank) for rank in group]
        assert all(len({at[name] for at in places}) == 1 for name in kept)
        assert list(group) == sorted(group) and mesh.group_of(group[-1], *axes) == group


def test_a_degree_is_the_size_of_a_group() -> None:
    """Not their number: 16 ranks with dp = 2 have 8 groups of two."""
    assert len(Mesh(pp=2, dp=2, tp=4).groups("dp")) == 8
    assert Mesh(pp=2, dp=2, tp=2).groups("dp") == ((0, 2), (1, 3), (4, 6), (5, 7))
    assert Mesh(dp=4, tp=2, ep=2).groups("ep") == ((0, 2), (1, 3), (4, 6), (5, 7))
    assert Mesh(dp=4, tp=2, ep=2).groups("edp") == ((0, 4), (1, 5), (2, 6), (3, 7))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"dp": 2, "tp": 2, "ranks": 6},
            "pp 1 × dp 2 × cp 1 × tp 2 = 4 ranks, and there are 6: dp=3 or tp=3 would fit",
        ),
        ({"dp": 4, "tp": 4, "ranks": 6}, "= 16 ranks, and there are 6: choose degrees whose product is 6"),
        ({"dp": 0}, "dp = 0: a degree counts ranks, so it is an integer of at least 1"),
        ({"tp": 2.0}, "tp = 2.0: a degree counts ranks"),
        ({"dp": 2, "cp": 3, "ep": 4}, "ep = 4 does not divide dp × cp = 2 × 3 = 6: ep can be 1, 2, 3, 6"),
    ],
)
def test_degrees_that_fit_no_ranks_are_refused_with_the_equation(given: dict, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        Mesh(**given)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda mesh: mesh.coordinates(4), "rank 4 is not on a mesh of 4 ranks, 0 to 3"),
        (lambda mesh: mesh.rank_at(tp=2), "tp = 2 is off the axis: tp has 2 positions, from 0"),
        (lambda mesh: mesh.rank_at(ep=0), "ep: a rank's place is given by"),
        (lambda mesh: mesh.groups("sp"), "sp: the axes of a mesh are pp, dp, cp, tp, ep, edp"),
        (lambda mesh: mesh.groups(), "no axis: the axes of a mesh are"),
        (lambda mesh: mesh.groups("dp", "ep"), "dp, ep: ep and edp share out the ranks of dp × cp"),
    ],
)
def test_what_a_mesh_does_not_have_is_said(ask, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        ask(Mesh(dp=2, tp=2))


# ---------------------------------------------------------------------- to look at
def test_the_picture_says_each_axis_and_needs_no_torch() -> None:
    program = (
        "import sys; from lab_utils.strategies.mesh import Mesh\n"
        "print(Mesh(dp=2, tp=2)._repr_mimebundle_()['text/plain']); assert 'torch' not in sys.modules"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, encoding="utf-8").stdout
    assert printed.splitlines() == [
        "pp 1 × dp 2 × cp 1 × tp 2 = 4 ranks",
        "dp: 2 groups of 2: ranks 0, 2; ranks 1, 3",
        "tp: 2 groups of 2: ranks 0-1; ranks 2-3",
    ]


def test_a_large_mesh_draws_its_first_ranks_and_says_so() -> None:
    shown = Mesh(pp=4, dp=8, tp=8)._repr_mimebundle_()
    assert "of which the first 64 are drawn" in shown["text/plain"]
    assert shown["image/svg+xml"].count("<rect") == 1 + 3 * 64  # the card's ground, and a cell for each axis
    tp = next(line for line in shown["text/plain"].splitlines() if line.startswith("tp: "))
    assert tp.startswith("tp: 32 groups of 8: ranks 0-7; ranks 8-15; ") and tp.endswith("ranks 120-127 and 16 more")


# ---------------------------------------------------------------------- on the ranks
def test_groups_on_the_ranks_whatever_each_asks_for_first(ranks4: Ranks) -> None:
    """Made in different orders, [0, 2] and [1, 3] would both have returned 5."""

    def sums() -> dict[str, float]:
        import torch
        import torch.distributed as dist

        mesh, found = Mesh(dp=2, tp=2), {}
        asked = [("tp",), ("dp",), ("dp", "cp"), ("cp",), ("pp",)]
        for axes in asked if dist.get_rank() % 2 else asked[::-1]:
            found[",".join(axes)] = mesh.group(*axes).size()
        for name in ("tp", "dp"):
            x = torch.tensor([float(dist.get_rank())])
            dist.all_reduce(x, group=mesh.group(name))
            found[f"sum over {name}"] = x.item()
        return found | {"mine": mesh.mine}

    found = ranks4.run(sums)
    assert [each["sum over tp"] for each in found] == [1, 1, 5, 5]
    assert [each["sum over dp"] for each in found] == [2, 4, 2, 4]
    assert all((each["tp"], each["dp"], each["dp,cp"], each["cp"], each["pp"]) == (2, 2, 2, 1, 1) for each in found)
    assert [(each["mine"]["dp"], each["mine"]["tp"]) for each in found] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_one_mesh_forms_its_groups_once_in_a_world(ranks4: Ranks) -> None:
    def formed() -> tuple[int, int, bool]:
        import torch.distributed as dist

        first = Mesh(pp=2, tp=2).group("tp")
        before = len(dist.distributed_c10d._world.pg_map)
        again = Mesh(pp=2, tp=2).group("tp")
        return before, len(dist.distributed_c10d._world.pg_map), first is again

    assert all(before == after and same for before, after, same in ranks4.run(formed))


def test_torchs_mesh_lies_on_the_same_groups(ranks4: Ranks) -> None:
    def dims() -> tuple:
        from torch.distributed.tensor import Shard, distribute_tensor

        mesh = Mesh(dp=2, tp=2)
        inner = mesh.device_mesh
        same = all(inner.get_group(name) is mesh.group(name) for name in AXES)
        import torch

        local = distribute_tensor(torch.arange(8.0), inner["tp"], [Shard(0)]).to_local()
        return inner.mesh_dim_names, tuple(inner.shape), same, local.tolist()

    found = ranks4.run(dims)
    assert [each[:3] for each in found] == [(AXES, (1, 2, 1, 2), True)] * 4
    assert [each[3] for each in found] == [[0, 1, 2, 3], [4, 5, 6, 7]] * 2


def test_the_groups_are_formed_again_when_a_rank_was_replaced(ranks4: Ranks) -> None:
    def sums(dies: int | None) -> list[float]:
        import os
        import signal

        import torch
        import torch.distributed as dist

        mesh, found = Mesh(dp=2, tp=2), []
        assert mesh.mine["tp"] == dist.get_rank() % 2  # which needs no other rank
        for name in ("tp", "dp"):
            x = torch.tensor([float(dist.get_rank())])
            dist.all_reduce(x, group=mesh.group(name))
            found.append(x.item())
        if dist.get_rank() == dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    def formed() -> int:
        import torch.distributed as dist

        return len(dist.distributed_c10d._world.pg_map)

    right = [[1, 2], [1, 4], [5, 2], [5, 4]]
    assert ranks4.run(sums, None) == right
    for dies in (1, 2):
        with pytest.raises(RankDied):
            ranks4.run(sums, dies)
        assert ranks4.run(sums, None) == right
    assert len(set(ranks4.run(formed))) == 1, "those of before are gone on all ranks alike"


def test_another_number_of_ranks_is_said(ranks4: Ranks) -> None:
    with pytest.raises(Exception, match="the mesh has 8 ranks, and 4 run: make it of as many, or start as many ranks"):
        ranks4.run(lambda: Mesh(dp=8).group("dp"))
