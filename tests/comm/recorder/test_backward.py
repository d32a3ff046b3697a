"""Futures that are taken during a backward pass: who waits for them, and how long they are kept."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable

import pytest
import torch
from torch.autograd import Variable
from torch.futures import Future

from lab_utils.comm.recorder.pending_op import PendingOp
from lab_utils.comm.recorder.recorder import Recorder


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def backward(*hooks: Callable[[], None]) -> None:
    """Run a backward pass whose node calls these in turn."""
    x = torch.ones(1, requires_grad=True)
    y = x * 2

    def call(_: torch.Tensor) -> None:
        for hook in hooks:
            hook()

    y.register_hook(call)
    y.backward()


def take(recorder: Recorder, future: Future) -> PendingOp:
    entry = PendingOp("collective", "all_reduce")
    recorder.future_taken(entry, future)
    return entry


def waits(recorded) -> list[PendingOp]:
    return [entry.of for entry in recorded.entries if isinstance(entry, PendingOp) and entry.kind == "wait"]


def test_a_callback_in_python_is_no_wait(recorder: Recorder) -> None:
    """It may take any time, and let other ranks go on after it."""
    seen = []

    def look() -> None:
        seen.append((recorder._awaited != (), recorder.rank_state()))

    backward(
        lambda: take(recorder, Future()),
        lambda: Variable._execution_engine.queue_callback(look),
    )
    [(awaited, state)] = seen
    assert awaited and (state.state, state.op) == ("computing", None)


def test_an_op_that_failed_before_the_end_of_backward_is_the_one_that_ddp_waits_for(recorder: Recorder) -> None:
    """Else its error would pass for one of the rank's own code."""
    failed, seen = Future(), []
    failed.set_exception(RuntimeError("Connection closed by peer"))
    backward(
        lambda: take(recorder, failed),
        lambda: take(recorder, Future()),
        lambda: Variable._execution_engine.queue_callback(lambda: seen.append((recorder.row.state, recorder.row.op))),
    )
    assert seen == [("in", "all_reduce")]


def test_a_static_graphs_first_backward_waits_as_soon_as_it_has_sent(recorder: Recorder) -> None:
    """DDP sends its gradients and waits for them in one call of C++, before the end of backward calls back."""
    seen = []

    def delayed() -> None:
        recorder.waits_at_once = True
        take(recorder, Future())
        seen.append((recorder.row.state, recorder.row.op))
        recorder.waits_at_once = False

    backward(lambda: Variable._execution_engine.queue_callback(delayed))
    assert seen == [("in", "all_reduce")] and recorder.row.state == "computing"


def test_what_nobody_waited_for_is_not_done(recorder: Recorder) -> None:
    """As of a backward inside another one: DDP waits at the end of the outer one."""
    late, taken = Future(), []
    with recorder.record(count=False) as recorded:
        backward(lambda: taken.append(take(recorder, late)))
        assert taken[0].done_s is None and waits(recorded) == []
        late.set_result(None)
        backward(lambda: taken.append(take(recorder, Future())))
        assert waits(recorded) == taken[:1] and taken[0].done_s is not None


def fail() -> None:
    raise ValueError("planted")


def test_a_backward_that_fails_keeps_no_tensor(recorder: Recorder) -> None:
    futures = [Future()]
    gone = weakref.ref(futures[0])
    with pytest.raises(ValueError, match="planted"):
        backward(lambda: take(recorder, futures[0]), fail)
    recorder.show("idle")
    futures.clear()
    assert gone() is None


def test_what_is_done_is_let_go_before_the_end(recorder: Recorder) -> None:
    tensor = torch.ones(3)
    gone, futures = weakref.ref(tensor), [Future()]
    futures[0].set_result(tensor)
    alive = []

    def forget() -> None:
        futures.clear()

    backward(
        lambda: take(recorder, futures[0]),
        lambda: take(recorder, Future()),
        forget,
        lambda: alive.append(sum(future.done() for _, future in recorder._pending)),
    )
    assert alive == [0]
    del tensor
    assert gone() is None


def test_a_backward_of_another_thread_that_outlives_the_call(recorder: Recorder) -> None:
    taken, ended, errors = threading.Event(), threading.Event(), []

    def run() -> None:
        try:
            backward(lambda: take(recorder, Future()), taken.set, ended.wait)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    taken.wait()
    recorder.show("idle")
    recorder.begin_call()
    ended.set()
    thread.join()
    assert errors == []
