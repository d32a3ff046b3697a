"""Groups and models made before a failure work after it: the groups are formed again as the objects that they were."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import stuck_programs as programs
from conftest import GROUP_TIMEOUT_S
from failing_programs import raised

from lab_utils import start_ranks
from lab_utils.ranks import RankDied, RankError, Ranks


@pytest.fixture(scope="module")
def ranks() -> Iterator[Ranks]:
    with start_ranks(4, timeout_s=GROUP_TIMEOUT_S) as ranks:
        yield ranks


def make_groups_and_models() -> None:
    import torch
    import torch.distributed as dist
    from torch.distributed.fsdp import fully_shard
    from torch.nn.parallel import DistributedDataParallel

    import __main__

    torch.manual_seed(0)
    __main__.pair = [dist.new_group([0, 1]), dist.new_group([2, 3])][dist.get_rank() // 2]
    __main__.ddp = DistributedDataParallel(torch.nn.Linear(4, 4))
    __main__.fsdp = torch.nn.Linear(4, 4)
    fully_shard(__main__.fsdp)


def use_groups_and_models() -> tuple[float, float, float]:
    import torch
    import torch.distributed as dist

    import __main__

    total = torch.tensor(float(dist.get_rank()))
    dist.all_reduce(total, group=__main__.pair)
    grads = []
    for model in (__main__.ddp, __main__.fsdp):
        model.zero_grad()
        model(torch.ones(2, 4) * dist.get_rank()).sum().backward()
        grad = next(iter(model.parameters())).grad
        grads.append(getattr(grad, "full_tensor", lambda grad=grad: grad)().sum().item())
    return total.item(), *grads


def test_groups_and_models_made_before_a_failure_work_after_it(ranks: Ranks) -> None:
    ranks.run(make_groups_and_models)
    before = ranks.run(use_groups_and_models)
    assert [total for total, _, _ in before] == [1.0, 1.0, 5.0, 5.0]
    raised(RankError, ranks.run, programs.fail_on_one)
    assert ranks.run(use_groups_and_models) == before


def use_pair() -> str:
    import torch
    import torch.distributed as dist

    import __main__

    if not hasattr(__main__, "pair"):
        return "none"
    try:
        dist.all_reduce(torch.ones(1), group=__main__.pair)
    except RuntimeError as error:
        return str(error)
    return "works"


def test_a_group_with_a_replaced_rank_says_so_and_others_go_on(ranks: Ranks) -> None:
    ranks.run(make_groups_and_models)
    raised(RankDied, ranks.run, programs.end_this_rank, 3, signal.SIGKILL)
    first, second, third, fourth = ranks.run(use_pair)
    assert first == second == "works"
    assert third.endswith("was lost when a rank was replaced: make it again on all ranks")
    assert fourth == "none"
    ranks.run(make_groups_and_models)  # all ranks count groups alike again, or this would not end
    assert [total for total, _, _ in ranks.run(use_groups_and_models)] == [1.0, 1.0, 5.0, 5.0]


def leave_all_groups() -> bool:
    import torch.distributed as dist

    dist.destroy_process_group()
    return dist.is_initialized()


def test_a_program_that_leaves_all_groups_may_have_a_lost_one(ranks: Ranks) -> None:
    ranks.run(make_groups_and_models)
    raised(RankDied, ranks.run, programs.end_this_rank, 3, signal.SIGKILL)
    assert ranks.run(leave_all_groups) == [False] * 4
    ranks.run(make_groups_and_models)  # the call before has formed the world anew
    assert [total for total, _, _ in ranks.run(use_groups_and_models)] == [1.0, 1.0, 5.0, 5.0]


def make_and_count_looks(groups: int) -> None:
    """From now on this rank counts how often it looks through all of its sockets."""
    import threading

    import torch.distributed as dist

    import __main__
    from lab_utils.comm.process_group import connections

    __main__.many = [dist.new_group([0, 1]) for _ in range(groups)]
    look, __main__.looks = connections._open_sockets, 0

    def counted() -> dict[int, int]:  # on the thread that forms groups: another looks to gloo's ended connections
        __main__.looks += threading.current_thread() is threading.main_thread()
        return look()

    __main__.look, connections._open_sockets = look, counted


def looks() -> int:
    import __main__
    from lab_utils.comm.process_group import connections

    connections._open_sockets = __main__.look
    return __main__.looks


def test_many_groups_are_formed_again_in_time_that_is_linear_in_their_number(ranks: Ranks) -> None:
    found = []
    for groups in (1, 9):
        ranks.run(make_and_count_looks, groups)
        ranks._must_form = True  # as after a failure, in which cuts would be counted too
        found.append(ranks.run(looks))
    assert found[0] == found[1]
    ranks.run(leave_all_groups)


def descriptors() -> int:
    import os
    import threading

    from lab_utils.comm.process_group import connections

    for thread in threading.enumerate():
        if thread.name == "close backends":
            thread.join()
    with connections._lock:  # other threads list or copy descriptors, which opens one more, only while they hold it
        return len(os.listdir("/dev/fd"))


def test_failures_leave_no_descriptors_open(ranks: Ranks) -> None:
    ranks.run(make_groups_and_models)
    raised(RankError, ranks.run, programs.fail_on_one)  # C++ keeps the first backend of a group
    before = ranks.run(descriptors)
    for _ in range(4):
        raised(RankError, ranks.run, programs.fail_on_one)
    assert ranks.run(descriptors) == before
