"""Data parallelism equals serial training: loss, every gradient, every parameter, on 2 and 4 ranks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab_utils import corpus
from lab_utils.ranks import RankError, Ranks
from lab_utils.strategies.parity import parity
from lab_utils.timeline import Trace

STEPS = 8
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture(params=["ranks2", "ranks4"])
def ranks(request: pytest.FixtureRequest) -> Ranks:
    return request.getfixturevalue(request.param)


def snapshots(steps: int, parallel: bool, how: str = "mean") -> dict | None:
    """Train a small GPT for some AdamW steps, from another seed on each rank, and say where it stands.

    Serial on rank 0 only: None on the others.
    """
    import torch
    import torch.distributed as dist

    from lab_utils.corpus import Batches, ByteTokens, cut, load
    from lab_utils.gpt import GPT, GPTConfig
    from lab_utils.strategies import serial
    from lab_utils.strategies.data import all_reduce
    from lab_utils.strategies.recipe import tensor

    if not parallel and dist.get_rank():
        return None
    rank, size = (dist.get_rank(), dist.get_world_size()) if parallel else (0, 1)
    blocks = cut(ByteTokens().encode(load()[:20_000]), block=16)
    torch.manual_seed(rank)
    model = GPT(GPTConfig(block=16, layers=2, channels=16, heads=2)).double()
    if parallel:
        all_reduce.replicate(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    if how == "sum":
        for parameter in model.parameters():
            parameter.register_hook(lambda gradient: gradient * size)  # a mean of n times the gradient is the sum
    for i in range(steps):
        mine = blocks[Batches(len(blocks), 8).part(i, rank, size)]
        step = all_reduce.step if parallel else serial.step
        loss = step(model, optimizer, tensor(mine.x), tensor(mine.y))
    return serial.snapshot(model, loss)


def test_all_reduce_equals_serial(ranks: Ranks) -> None:
    (one, *_), all_of_them = ranks.run(snapshots, STEPS, False), ranks.run(snapshots, STEPS, True)
    found = parity(one, all_of_them, tolerance=1e-10)
    assert found.equal, found
    assert len(all_of_them) == ranks.size
    assert found.differences[2].tensors == len(one["parameters"]) > 20


def test_a_sum_does_not(ranks: Ranks) -> None:
    (one, *_), summed = ranks.run(snapshots, 1, False), ranks.run(snapshots, 1, True, "sum")
    gradients = parity(one, summed).differences[1]
    assert gradients.max_rel == pytest.approx(ranks.size - 1)


def test_one_message_a_step_for_the_gradients(ranks2: Ranks) -> None:
    trace = ranks2.record(snapshots, 1, True)
    sent = [[(op.name, op.phase) for op in ops if op.kind == "collective"] for ops in trace.ops]
    assert sent == [[("broadcast", ""), ("all_reduce", "aggregate"), ("all_reduce", "aggregate")]] * 2


def losses(**recipe: object) -> list[float]:
    from lab_utils.strategies.recipe import Recipe, train

    return train(Recipe(vocabulary=300, layers=1, channels=32, steps=6, warmup=2, **recipe))[2]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with a tenth of the lab's text, all of which takes each rank half a second to cut into tokens."""
    (file := tmp_path_factory.mktemp("text") / "text.txt").write_text(corpus.load()[:50_000], encoding="utf-8")
    return str(file)


@pytest.fixture(scope="module")
def trained(ranks2: Ranks, text: str) -> Trace:
    """Its results are the losses of each rank."""
    return ranks2.record(losses, text=text)


def test_training_does_not_depend_on_the_number_of_ranks(trained: Trace, ranks4: Ranks, text: str) -> None:
    two, four = trained.results, ranks4.run(losses, text=text)
    assert two[0] == two[1] and four[0] == four[3]
    assert two[0] == pytest.approx(four[0], rel=1e-12)


def test_training_stops_below_the_threshold(trained: Trace, ranks2: Ranks, text: str) -> None:
    whole = trained.results[0]
    assert len(whole) == 6 and whole[-1] < whole[0]
    assert ranks2.run(losses, text=text, stop_below=(whole[2] + whole[1]) / 2)[0] == whole[:3]


def test_all_seven_phases_are_recorded(trained: Trace) -> None:
    for phases in trained.phases:
        names = ["preprocess", "initialise", *["forward", "backward", "aggregate", "update", "check"] * 6]
        assert [phase.name for phase in phases] == names


def test_a_batch_that_the_ranks_do_not_divide_is_refused(ranks2: Ranks) -> None:
    with pytest.raises(RankError, match="batch=15 is not divisible by 2 ranks"):
        ranks2.run(losses, batch=15)


def test_the_same_program_under_torchrun(tmp_path: Path) -> None:
    (text := tmp_path / "text.txt").write_text(corpus.load()[:60_000], encoding="utf-8")
    program = [*TORCHRUN, "-m", "lab_utils.strategies.recipe", "--steps", "3", "--text", str(text)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    run = subprocess.run(program, capture_output=True, encoding="utf-8", env=environment)
    assert run.returncode == 0, run.stderr
    assert re.match(r"loss 7\.\d{3} → 7\.\d{3}, held out [67]\.\d{3} nats a token\nThe ", run.stdout), run.stdout
