"""What happens at a group's time-out: who still computes, and what was dropped, is named; groups have the world's."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import stuck_programs as programs
from failing_programs import line_of, raised

from lab_utils.ranks import Ranks, RanksStuck

TIMEOUT_S = 2.0


@pytest.fixture(scope="module")
def ranks(ranks2: Ranks) -> Iterator[Ranks]:
    """Their group is formed anew, with another time-out, as if they had been started with that."""
    usual_s = ranks2._engines.timeout_s
    ranks2.run(end_the_world)
    ranks2._engines.timeout_s = TIMEOUT_S
    yield ranks2
    ranks2.run(end_the_world)
    ranks2._engines.timeout_s = usual_s


def end_the_world() -> None:
    import torch.distributed as dist

    dist.destroy_process_group()


def come_late_to_a_group(rank: int) -> None:
    import time

    import torch
    import torch.distributed as dist

    group = dist.new_group([0, 1])
    if dist.get_rank() == rank:
        time.sleep(20 * TIMEOUT_S)
    dist.all_reduce(torch.ones(2), group=group)


def timeouts_s() -> list[float]:
    from datetime import timedelta

    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh

    mesh = init_device_mesh("cpu", (2, 1), mesh_dim_names=("dp", "tp"))
    asked = dist.new_group([0, 1], timeout=timedelta(seconds=77))
    return [group._timeout.total_seconds() for group in (mesh.get_group("dp"), mesh.get_group("tp"), asked)]


def test_a_group_gives_up_when_the_world_does_unless_asked_otherwise(ranks: Ranks) -> None:
    assert ranks.run(timeouts_s) == [[TIMEOUT_S, TIMEOUT_S, 77.0]] * 2
    with pytest.raises(RanksStuck, match=r"^rank 1 is in all_reduce #0 on group 0,1.*; rank 0 is still computing"):
        ranks.run(come_late_to_a_group, 0)


def test_a_rank_that_is_still_computing_is_named_at_the_time_out(ranks: Ranks) -> None:
    program = programs.one_goes_on_computing
    error = raised(RanksStuck, ranks.run, program, 1, in_time=False)
    assert str(error) == error.diagnosis.sentence
    waits, loop = line_of(program, "dist.all_reduce"), line_of(program, "while")
    found = re.fullmatch(
        rf"rank 0 is in all_reduce #\d+ on world \(stuck_programs\.py:{waits}\); "
        r"rank 1 is still computing \(stuck_programs\.py:(\d+)\)",
        str(error),
    )
    assert found and int(found[1]) in (loop, loop + 1)
    assert (error.diagnosis.kind, error.diagnosis.ranks, error.diagnosis.certain) == ("computing", (1,), False)
    assert ranks.run(programs.agree) == [1.0, 1.0]


def test_a_send_that_nobody_waited_for_is_named_by_what_it_holds_up(ranks: Ranks) -> None:
    program = programs.drop_a_send
    error = raised(RanksStuck, ranks.run, program, in_time=False)
    send = line_of(program, "dist.isend")
    assert re.fullmatch(
        rf"ranks 0-1 are in all_reduce #\d+ on world \(stuck_programs\.py:\d+\), behind send #\d+ to rank 1 "
        rf"\(stuck_programs\.py:{send}\), which rank 0 did not wait for: keep what isend and irecv return, and call "
        r"wait\(\) on it",
        str(error),
    )
    assert (error.diagnosis.kind, error.diagnosis.ranks, error.diagnosis.certain) == ("dropped", (0,), True)
    assert ranks.run(programs.agree) == [1.0, 1.0]
