"""Whose numbers a kernel's results are: every way in which a collective may move and combine what it was given."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from lab_utils.comm.recorder.recorder import recording
from lab_utils.widgets.collective_steps.probe import MOST_ELEMENTS, ChunkFlow, chunk_flow
from lab_utils.widgets.collective_steps.record import ChunkLog
from lab_utils.widgets.collective_steps.replay import EMPTY, MIXED, NO_INDEX, Content, Labels, Memory

N = 12


def follow(program: Callable[[Tensor], Tensor], count: bool = False) -> tuple[Tensor, Content, Labels]:
    """What a program makes of 0. ... 11., and what the notes say it is made of."""
    x = torch.arange(N, dtype=torch.float32)
    with recording(count), chunk_flow(x) as flow:
        out = program(x)
    flow.result(out)
    log, labels = flow.record(), Labels()
    memory = Memory(log, labels)
    for event in log.events:
        memory.wrote(event)
    return out, memory.read(log.result), labels


def into(x: Tensor, write: Callable[[Tensor], object]) -> Tensor:
    write(x)
    return x


# What comes out is, as a number, the index of the element that it is. Numbers of nobody's are -1.
MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "clone": lambda x: x.clone(),
    "view": lambda x: x.view(3, 4)[1:, ::2].reshape(-1),
    "transposed": lambda x: x.view(3, 4).t().contiguous(),
    "cat": lambda x: torch.cat([x[6:], x.new_full((2,), -1), x[:6]]),
    "stack": lambda x: torch.stack([x[4:8], x[:4]]),
    "index": lambda x: x[torch.tensor([3, 1, 1])],
    "mask": lambda x: x[x > 7],
    "where": lambda x: torch.where(x > 7, x, x.clone()),
    "flip": lambda x: x.flip(0),
    "roll": lambda x: x.roll(3),
    "repeat": lambda x: x[:2].repeat(3),
    "expand": lambda x: x[:3].view(3, 1).expand(3, 2).clone(),
    "other dtype": lambda x: x.double().half().float(),
    "copy_": lambda x: into(torch.full((N,), -1.0), lambda out: out[2:5].copy_(x[7:10])),
    "slice": lambda x: into(x, lambda x: x[:4].copy_(x[4:8])),
    "put": lambda x: into(x, lambda x: x.__setitem__(torch.tensor([0, 5]), x[8:10].clone())),
    "cleared": lambda x: into(x, lambda x: x[3:6].fill_(-1)),
    "zeros": lambda x: into(torch.zeros(N).sub_(1), lambda out: out.__setitem__(slice(0, 3), x[3:6])),
    "out": lambda x: torch.add(x, torch.zeros(N), out=torch.full((N,), -1.0)),
    "scaled": lambda x: (x * 4).div_(2).mul(0.5),
    "split": lambda x: torch.cat(x.tensor_split(5)[::-1]),
    "foreach": lambda x: into(torch.zeros(N), lambda out: torch._foreach_copy_(list(out.split(4)), list(x.split(4)))),
    "empty": lambda x: torch.empty_like(x).fill_(-1),
    "freed": lambda x: torch.cat([torch.cat([x[i : i + 1].clone() for i in range(N)]), x.new_full((2,), -1)]),
}  # fmt: skip


@pytest.mark.parametrize("count", [False, True], ids=["plain", "counted"])
@pytest.mark.parametrize("name", MOVES)
def test_moves(name: str, count: bool) -> None:
    out, content, labels = follow(MOVES[name], count)
    assert content.indices.tolist() == out.reshape(-1).to(torch.int64).tolist()
    assert [labels.parts[label] for label in content.labels] == [
        (0,) if index >= 0 else () for index in content.indices
    ]


SUMS: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "add": (lambda x: x + x, 2),
    "in place": (lambda x: into(x.clone(), lambda y: y.add_(x).add_(x)), 3),
    "sum of a stack": (lambda x: torch.stack([x, x, x]).sum(0), 3),
    "sum of a list": (lambda x: sum([x, x.clone()]), 2),
    "mean": (lambda x: torch.stack([x, x], dim=1).mean(-1), 2),
    "foreach": (lambda x: into(x.clone(), lambda y: torch._foreach_add_([y], [x])), 2),
    "accumulated": (lambda x: into(x.clone(), lambda y: y.index_put_((torch.arange(N),), x, accumulate=True)), 2),
    "maximum": (lambda x: torch.maximum(x, x.clone()), 1),
    "amax": (lambda x: torch.stack([x, x]).amax(0), 1),
    "max with places": (lambda x: torch.stack([x, x]).max(0).values, 1),
}


@pytest.mark.parametrize("name", SUMS)
def test_sums(name: str) -> None:
    """How often the part is in what is made of it."""
    program, times = SUMS[name]
    _, content, labels = follow(program)
    assert content.indices.tolist() == list(range(N))
    assert {labels.parts[label] for label in content.labels.tolist()} == {(0,) * times}


@pytest.mark.parametrize(
    "program",
    [
        lambda x: x[:6] + x[6:],
        lambda x: x.view(3, 4) @ torch.ones(4, 4),
        lambda x: x.sum().view(1),
        lambda x: x.cumsum(0),
    ],
    ids=["unlike elements", "matrix product", "one sum", "nobody knows"],
)
def test_what_is_mixed_is_nobodys(program: Callable[[Tensor], Tensor]) -> None:
    _, content, _ = follow(program)
    assert set(content.indices.tolist()) == {MIXED} and set(content.labels.tolist()) == {EMPTY}


def test_what_has_nothing_to_do_with_it_is_not_noted() -> None:
    def program(x: Tensor) -> Tensor:
        other = torch.randn(1000, 1000) @ torch.randn(1000, 10)
        other.add_(1).relu_()
        return x[:1]

    x = torch.arange(N, dtype=torch.float32)
    with recording(count=False), chunk_flow(x) as flow:
        program(x)
    log = flow.record()
    assert log.events == () and log.places == N and log.given == range(N)


def test_memory_that_is_used_again_is_another() -> None:
    """The allocator gives a freed tensor's address to the next one, which is nobody's."""

    def program(x: Tensor) -> Tensor:
        freed = set()
        for _ in range(1000):
            freed.add(x.clone().untyped_storage()._cdata)
            if (fresh := torch.full((N,), -1.0)).untyped_storage()._cdata in freed:
                return fresh
        raise AssertionError("no address came back")

    _, content, _ = follow(program)
    assert set(content.indices.tolist()) == {NO_INDEX}


def test_a_log_is_small() -> None:
    with recording(count=False), chunk_flow(x := torch.zeros(MOST_ELEMENTS)) as flow:
        for _ in range(10):
            x.clone().add_(x)
    log = flow.record()
    assert isinstance(flow, ChunkFlow) and isinstance(log, ChunkLog)
    assert len(log.events) == 20 and len(pickle.dumps(log)) < 4000


def test_a_part_that_is_no_row() -> None:
    """Strided memory: its elements are counted in their own order."""
    x = torch.arange(N, dtype=torch.float32).view(3, 4).t()
    with recording(count=False), chunk_flow(x) as flow:
        y = x.reshape(-1)
    flow.result(y)
    log = flow.record()
    memory = Memory(log, Labels())
    for event in log.events:
        memory.wrote(event)
    assert np.array_equal(memory.read(log.result).indices, np.arange(N))


def test_what_cannot_be_followed() -> None:
    with pytest.raises(RuntimeError, match=r"nothing is recorded here: call ranks\.record"), chunk_flow(torch.ones(3)):
        pytest.fail("the block ran")
    with recording(count=False):
        for size, shown in ((MOST_ELEMENTS + 1, "65,537 elements"), (0, "has 0 elements")):
            with pytest.raises(ValueError, match=shown), chunk_flow(torch.empty(size)):
                pytest.fail("the block ran")
