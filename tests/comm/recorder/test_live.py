"""What live tensors hold is followed: what was there, what is made, what is let go, what changes its size."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import counted_programs as programs
import pytest
import torch
from torch import Tensor, nn

from lab_utils.comm.recorder import live_memory
from lab_utils.comm.recorder.kernel_counter import KernelCounter, counting
from lab_utils.comm.recorder.live_memory import RISES, TensorSearch
from lab_utils.gpt import GPT
from lab_utils.ranks import Ranks

KB = 1000  # bytes of 250 float32


class Held:
    """How many bytes more than at the beginning are held, and were at most since this was last asked."""

    def __init__(self, counter: KernelCounter) -> None:
        self.counter, self.base = counter, counter.take().live_bytes

    def __call__(self) -> tuple[int, int]:
        counts = self.counter.take()
        return counts.live_bytes - self.base, counts.peak_bytes - self.base


@pytest.fixture
def held():
    gc.collect()  # what earlier tests left in circles must not go away in the middle of this one
    counter = KernelCounter()
    with counting(counter):
        yield Held(counter)


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.ones(250),
        lambda: torch.empty(250),
        lambda: torch.tensor([0.0] * 250),
        lambda: torch.ones(125) + torch.ones(125)[:, None][:2],
        lambda: torch.ones(500).split(250)[0].clone(),
        lambda: torch.ones(250)[:10].view(2, 5).t(),
    ],
)
def test_a_tensor_counts_while_something_holds_it(held: Held, make: Callable[[], Tensor]) -> None:
    made = make()
    assert held()[0] == KB
    view = made[0]
    del made
    assert held()[0] == KB
    del view
    assert held() == (0, KB)


def test_the_peak_is_of_each_stretch(held: Held) -> None:
    _ = torch.ones(250) + torch.ones(250)
    assert held() == (KB, 3 * KB)
    assert held() == (KB, KB)


def test_it_is_told_when_memory_was_taken(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now_s=10.0)
    clock.perf_counter = lambda: clock.now_s
    monkeypatch.setattr(live_memory, "time", clock)
    held.counter.take()
    clock.now_s = 11.0
    made = [torch.ones(250) for _ in range(2)]
    clock.now_s = 15.0
    kept = torch.ones(750)
    clock.now_s = 20.0
    counts = held.counter.take()
    (first, low, *_, top), at_once = counts.rises, held.counter.take().rises
    assert (first.time, first.kernels, first.bytes - held.base) == (0, 0, 0)
    assert (low.bytes - held.base, low.kernels, low.time) == (KB, 0, 0.1)
    assert (top.bytes - held.base, top.kernels, top.time) == (5 * KB, pytest.approx(2 / 3), 0.5)
    assert [rise.bytes - held.base for rise in at_once] == [5 * KB]
    del made, kept


def test_many_rises_are_few_and_end_at_the_peak(held: Held) -> None:
    kept = [torch.ones(250) for _ in range(100)]
    rises = held.counter.take().rises
    assert len(rises) <= RISES and rises[-1].bytes - held.base == 100 * KB
    assert list(rises) == sorted(rises)
    del kept


def test_a_storage_that_is_emptied_and_filled_again(held: Held) -> None:
    """As FSDP2 does with the parameters that it has gathered."""
    made = torch.ones(250)
    made.untyped_storage().resize_(0)
    assert held() == (0, KB)
    made.untyped_storage().resize_(2 * KB)
    assert held() == (2 * KB, 2 * KB)
    del made
    assert held()[0] == 0


def test_forward_holds_activations_and_backward_trades_them_for_gradients(held: Held) -> None:
    weight, x = torch.ones(25, 10, requires_grad=True), torch.ones(25, 25)
    inputs = KB + 2500
    loss = (x @ weight).exp().sum()  # the product goes; its exponential stays for the backward pass, and 4 bytes
    assert held() == (inputs + KB + 4, inputs + 2 * KB)
    loss.backward()
    assert held()[0] == inputs + KB + 4
    weight.grad = None
    assert held()[0] == inputs + 4


def test_what_was_there_counts_and_can_go() -> None:
    gc.collect()
    model = nn.Linear(250, 1, bias=False)
    model(torch.ones(250)).backward()
    kept = [torch.ones(250)]
    counter = KernelCounter()
    with counting(counter):
        held = Held(counter)
        kept.clear()
        assert held()[0] == -KB
        model.zero_grad()  # a gradient that Python had never asked for
        assert held()[0] == -2 * KB


def test_a_second_search_goes_through_young_objects_only_and_finds_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, search = [], TensorSearch()
    referrers = gc.get_referrers
    monkeypatch.setattr(gc, "get_referrers", lambda *kinds: whole.append(kinds) or referrers(*kinds))
    old, kept = torch.ones(250), torch.ones(250)
    gone = weakref.ref(kept)
    gc.collect()
    gc.disable()  # one of its own in between would make the second search a whole one
    try:
        assert {id(old), id(kept)} <= {id(each) for each in search.find()}
        del kept
        young = [torch.ones(250) for _ in range(3)]
        found = [id(each) for each in search.find()]
        assert {id(each) for each in (old, *young)} <= set(found) and len(set(found)) == len(found)
        assert gone() is None and len(whole) == 1
        gc.collect(1)  # the young are old now
        assert {id(each) for each in (old, *young)} <= {id(each) for each in search.find()}
        assert len(whole) == 2
    finally:
        gc.enable()


def test_shapes_hold_nothing(held: Held) -> None:
    made = torch.ones(250, device="meta")
    assert held() == (0, 0) and made.is_meta


def test_torchs_own_resize_is_back_afterwards() -> None:
    before = torch.UntypedStorage.resize_
    with counting(KernelCounter()):
        assert torch.UntypedStorage.resize_ is not before
    assert torch.UntypedStorage.resize_ is before


@pytest.mark.parametrize("kind", ["serial", "ddp", "fsdp"])
def test_a_step_leaves_its_gradients_and_nothing_else(ranks2: Ranks, kind: str) -> None:
    """In FSDP2 too, which gathers parameters into storages that live on, empty. The step begins with zero_grad."""
    size = sum(p.numel() * p.element_size() for p in GPT(programs.CONFIG).parameters())
    mine = size // 2 if kind == "fsdp" else size
    for begin, end, most in ranks2.run(programs.held_by_steps, kind):
        assert end - begin == mine
        assert most - begin > size  # parameters that were gathered, or activations, beside


def test_the_time_of_what_rises_begins_after_the_wait_before(ranks2: Ranks, tmp_path: Path) -> None:
    """By a clock that goes on while rank 0 waits, and after it has taken memory, and not in between."""
    os.mkfifo(tmp_path / "waits")
    ops = ranks2.record(programs.takes_memory_after_a_wait, str(tmp_path)).ops[0]
    rises = [op.rises for op in ops if op.kind == "compute"]
    assert [(each[0].time, each[-1].time) for each in rises if programs.takes(each)] == [(0.0, 0.0)]


def test_what_an_asynchronous_op_was_given_can_go(ranks2: Ranks) -> None:
    for ops in ranks2.record(programs.gathered_again_and_again, 8).ops:
        held = [op.live_bytes for op in ops if op.kind == "compute"]
        assert max(held) - held[0] < 4 * programs.GATHERED_BYTES  # not that of 8: gloo's thread lets go a little later


def test_what_an_earlier_call_left_in_a_cycle_does_not_count(ranks2: Ranks) -> None:
    ranks2.run(programs.leave_a_cycle)
    for ops in ranks2.record(programs.matmuls_between_ops).ops:
        assert max(op.peak_bytes for op in ops if op.kind == "compute") < programs.LEFT_BYTES


def test_uncounted_ops_say_nothing(ranks2: Ranks) -> None:
    for op in ranks2.record(programs.matmuls_between_ops, count=False):
        assert op.live_bytes is None and op.peak_bytes is None
