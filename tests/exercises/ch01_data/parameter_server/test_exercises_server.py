"""The reader's parameter server on real ranks: right ways to write it, and wrong in the ways that people go wrong."""

from __future__ import annotations

from functools import partial

import exercise_runs
import pytest
from exercise_runs import assert_open, assert_right, judged

from lab_utils.exercises.ch01_data.parameter_server.judge import explained
from lab_utils.ranks import Ranks

IMPORTS = """
import torch
import torch.distributed as dist
from torch.nn.utils import parameters_to_vector, vector_to_parameters
"""
SHOWN = explained()["solution"] + "\n"
OWN_TENSORS = """
def my_server(model, optimizer, x, y):
    workers = range(1, dist.get_world_size())
    if dist.get_rank() > 0:
        model.zero_grad()
        (model(x, y)[1] * len(x) / 16).backward()
        for parameter in model.parameters():
            dist.send(parameter.grad, 0)
        for parameter in model.parameters():
            dist.recv(parameter.detach(), 0)
        return
    optimizer.zero_grad()
    for worker in workers:
        for parameter in model.parameters():
            pushed = torch.empty_like(parameter)
            dist.recv(pushed, worker)
            parameter.grad = pushed if parameter.grad is None else parameter.grad + pushed
    optimizer.step()
    for worker in workers:
        for parameter in model.parameters():
            dist.send(parameter.detach(), worker)
"""
UPDATE = "    optimizer.step()\n"
SPREAD = """    for worker in range(1, dist.get_world_size()):
        dist.send(parameters_to_vector(parameters).detach(), worker)
"""
ALL, FEWER = "range(1, dist.get_world_size())", "range(1, dist.get_world_size() - 1)"
MEAN = "total[:-1] / total[-1]"
SHARE = "gradient * len(x)"
RECEIVED = "        vector_to_parameters(flat, parameters)\n"
ADDED = "        total = total + pushed\n"
changed = partial(exercise_runs.changed, SHOWN)


def terms(*weights: float) -> str:
    return " + ".join(f"{weight:g} × worker {worker}'s gradient" for worker, weight in enumerate(weights, start=1))


def update(*weights: float) -> str:
    return f"the server's update is {terms(*weights)}"


WRONG = {
    "one worker is left out": (
        changed((ADDED, "        pushed[:-1] *= worker != 2\n" + ADDED)),
        f"{update(0.125, 0, 0.5625)}, and serial's is {terms(0.125, 0.3125, 0.5625)}: worker 2 left out",
    ),
    "only the last one counts": (
        changed((ADDED, "        total = pushed\n")),
        update(0, 0, 1),
    ),
    "a mean of means": (
        changed((MEAN, "total[:-1] / 3"), (SHARE, "gradient")),
        update(0.3333, 0.3333, 0.3333),
    ),
    "over all ranks": (
        changed((MEAN, "total[:-1] / 4"), (SHARE, "gradient")),
        update(0.25, 0.25, 0.25),
    ),
    "weighed, and over all ranks": (
        changed((MEAN, "total[:-1] / total[-1] * 3 / 4")),
        update(0.09375, 0.2344, 0.4219),
    ),
    "a sum": (
        changed((MEAN, "total[:-1]"), (SHARE, "gradient")),
        update(1, 1, 1),
    ),
    "a sum over samples": (
        changed((MEAN, "total[:-1]")),
        update(2, 5, 9),
    ),
    "sends before the update": (
        changed((UPDATE + SPREAD, SPREAD + UPDATE)),
        "rank 1 has the parameters of before step 0: they were sent before the server's update",
    ),
    "workers update as well": (
        changed((RECEIVED, RECEIVED + "        optimizer.step()\n")),
        "rank 1 updated the parameters that it received in step 0 again, by its own gradient",
    ),
    "no update": (changed((UPDATE, "")), "rank 0's parameters are the same before and after step 0"),
    "gradients pile up": (
        changed(("        model.zero_grad()\n", ""), ("parameters_to_vector(p.grad", "parameters_to_vector(+p.grad")),
        "step 0 equals serial and step 1 does not",
    ),
    "shuffled": (changed((MEAN, "(total[:-1] / total[-1]).flip(0)")), "rank 0's update in step 0 is no sum"),
    "one tensor is not received": (
        changed((RECEIVED, "        vector_to_parameters(flat[:276], parameters[:1])\n")),
        "rank 1 has other parameters than rank 0 after step 0: ",
    ),
    "all-reduced as well": (
        changed((SPREAD, SPREAD + "    dist.barrier()\n"), (RECEIVED, RECEIVED + "        dist.barrier()\n")),
        "the parameters are right, but barrier did the work: use send and receive only",
    ),
    "pushed twice": (
        changed(
            (ADDED, ADDED + "        dist.recv(pushed, worker)\n"),
            (
                "        dist.recv(flat, 0)\n",
                "        dist.send(torch.zeros(len(flat) + 1).to(flat), 0)\n        dist.recv(flat, 0)\n",
            ),
        ),
        "worker 1 sent 36,304 bytes per step, and its gradients have 18,144",
    ),
}


@pytest.mark.parametrize(
    "source",
    [
        "def my_server(model, optimizer, x, y):\n    raise NotImplementedError\n",
        "def my_server(model, optimizer, x, y):\n    ...\n",
    ],
)
def test_stubs_are_not_answered_yet(ranks4: Ranks, source: str) -> None:
    assert_open(ranks4, "01.19", IMPORTS + source)


@pytest.mark.parametrize("source", [SHOWN, OWN_TENSORS], ids=["as shown", "a message per tensor"])
def test_right_servers(ranks4: Ranks, source: str) -> None:
    assert_right(ranks4, "01.19", IMPORTS + source)


@pytest.mark.parametrize("version", WRONG)
def test_wrong_servers(ranks4: Ranks, version: str) -> None:
    source, said = WRONG[version]
    card = judged(ranks4, "01.19", IMPORTS + source)
    assert card.state == "wrong" and card.sentence.startswith(said), card


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("only the last one counts", ": workers 1, 2 left out"),
        ("a mean of means", ": a mean of means, and the shards differ in size"),
        ("over all ranks", ": divided by 4 ranks, and the server has no shard"),
        ("weighed, and over all ranks", ": divided by 4 ranks, and the server has no shard"),
        ("a sum", ": a sum where a mean belongs"),
        ("a sum over samples", ": a sum where a mean belongs"),
    ],
)
def test_the_cause_of_a_wrong_weight_is_named(ranks4: Ranks, version: str, why: str) -> None:
    card = judged(ranks4, "01.19", IMPORTS + WRONG[version][0])
    assert card.sentence.endswith(why) and card.lines == ("the workers' shards: 2, 5, 9 of 16 blocks",)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            changed(
                (f"{ALL}:\n        dist.recv", f"{FEWER}:\n        dist.recv"), (SPREAD, SPREAD.replace(ALL, FEWER))
            ),
            "rank 3 is in send #0 to rank 0 (line 13); rank 0 returned without receiving",
        ),
        (
            changed(("        model.zero_grad()\n", "        dist.recv(flat, 0)\n        model.zero_grad()\n")),
            "wait for each other in a circle: ",
        ),
    ],
    ids=["one worker is never served", "both sides receive first"],
)
def test_servers_that_get_stuck(ranks4: Ranks, source: str, said: str) -> None:
    ranks4._must_form = True  # so that messages count from 0
    card = judged(ranks4, "01.19", IMPORTS + source)
    assert card.state == "wrong" and said in str(card), card


def test_one_worker_is_judged_alike(ranks2: Ranks) -> None:
    assert_right(ranks2, "01.19", IMPORTS + SHOWN)
    card = judged(ranks2, "01.19", IMPORTS + WRONG["sends before the update"][0])
    assert card.sentence.startswith("rank 1 has the parameters of before step 0")
