"""Pieces that ranks send each other: the same as the collectives that they stand for, and told by their names."""

from __future__ import annotations

import pytest

from lab_utils.ranks import Ranks

NUMEL = 12


def both_ways(dtype: str) -> list[tuple[list[float], list[float]]]:
    """[(ours, the backend's)] of a reduce-scatter and an all-gather, into memory of their own and in place."""
    import torch
    import torch.distributed as dist

    from lab_utils.strategies.data.zero.shard_collectives import all_gather, reduce_scatter, room_numel

    group, rank = dist.group.WORLD, dist.get_rank()
    whole = (torch.arange(NUMEL) * (rank + 1)).to(getattr(torch, dtype))
    room, plain = whole.new_empty(room_numel(whole, group)), whole.chunk(group.size())[rank].clone()
    dist.reduce_scatter_single(plain, whole)
    found = []
    for into in (torch.empty_like(plain), whole.chunk(group.size())[rank]):
        work, finish = reduce_scatter(whole, into, group, room)
        work.wait()
        finish()
        found.append((into.tolist(), plain.tolist()))
    gathered = torch.empty_like(whole)
    dist.all_gather_single(gathered, plain)
    for given in (plain, whole.chunk(group.size())[rank]):
        all_gather(whole, given, group).wait()
        found.append((whole.tolist(), gathered.tolist()))
    return found


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
@pytest.mark.parametrize("ranks", ["ranks2", "ranks4"])
def test_as_the_collectives(request: pytest.FixtureRequest, ranks: str, dtype: str) -> None:
    trace = request.getfixturevalue(ranks).record(both_ways, dtype, count=False)
    assert all(ours == theirs for found in trace.results for ours, theirs in found)
    for ops in trace.ops:
        told = [(op.name, op.bytes) for op in ops if op.kind == "collective"]
        run_as = [(op.name, op.run_as) for op in ops if op.run_as]
        scatters, gathers = [("reduce_scatter", "all_to_all")] * 2, [("all_gather", "all_to_all")] * 2
        assert run_as == (scatters + gathers if ranks == "ranks2" else scatters)  # marked where they stand for it
        scatter, gather = ([each for each in told if each[0] == name] for name in ("reduce_scatter", "all_gather"))
        assert len(told) == 6 and (len(set(scatter)), len(set(gather))) == (1, 1)  # ours and theirs are told alike
        assert (len(scatter), len(gather)) == (3, 3)


def meant_and_failed() -> list[str]:
    import torch

    from lab_utils.comm.process_group.c10d_calls import meant, standing_for

    given = [torch.zeros(3)]
    with standing_for("all_gather", torch.ones(2)):
        inside = meant("all_to_all", given)
    try:
        with standing_for("all_gather", torch.ones(2)):
            raise KeyError
    except KeyError:
        after = meant("all_to_all", given)
    return [f"{name} {of[0].numel()} {run_as}".strip() for name, of, run_as in (inside, after)]


def test_only_inside_does_it_stand_for_another(ranks2: Ranks) -> None:
    assert ranks2.run(meant_and_failed) == [["all_gather 2 all_to_all", "all_to_all 3"]] * 2
