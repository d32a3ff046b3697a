"""Calls that end as scripts do, in an exception that cannot say what it is, or by an interrupt at a bad moment."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable

import pytest
from stuck_programs import agree

from lab_utils.ranks import RankError, Ranks


def end_as_scripts_do() -> None:
    import torch.distributed as dist

    dist.destroy_process_group()


def raise_what_has_no_text() -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise KeyError("none")

    raise Silent


def fail_while_it_holds_something() -> None:
    import gc
    import weakref

    import __main__

    class Held:
        pass

    held = Held()
    __main__.held = weakref.ref(held)
    gc.disable()  # which would find a circle, some time later
    raise ValueError("bad batch")


def holds_it_still() -> bool:
    import gc

    import __main__

    gc.enable()
    return __main__.held() is not None


def test_a_call_that_destroys_its_group_is_followed_by_one_that_has_it(ranks2: Ranks) -> None:
    ranks2.run(end_as_scripts_do)
    assert ranks2.run(agree) == [1.0, 1.0]


def test_an_exception_whose_text_fails_is_told_like_any_other(ranks2: Ranks) -> None:
    with pytest.raises(RankError, match=r"^ranks 0-1 raised Silent: \(no text: its __str__ raised KeyError\)"):
        ranks2.run(raise_what_has_no_text)
    assert ranks2.run(agree) == [1.0, 1.0]


def test_a_call_that_failed_holds_nothing_any_more(ranks2: Ranks) -> None:
    with pytest.raises(RankError, match="bad batch"):
        ranks2.run(fail_while_it_holds_something)
    assert ranks2.run(holds_it_still) == [False, False]


# ------------------------------------------------------------------ interrupts
class InterruptsItsReader:
    def __reduce__(self) -> tuple:
        signal.raise_signal(signal.SIGINT)
        return str, ()


def be_read_by_ddp() -> None:
    """As DDP's C++ has Python read what a future holds: any exception there becomes a RuntimeError."""
    import torch

    try:
        torch._jit_internal._extract_tensors(InterruptsItsReader())
    except KeyboardInterrupt as error:
        raise RuntimeError("Cannot extract tensors from value") from error
    while True:
        time.sleep(0.01)


def lose_the_others_in_backward() -> None:
    """The first to leave after an interrupt is an error on the others, before they have seen their own."""
    import torch

    def read_and_fail(_: torch.Tensor) -> None:
        torch._jit_internal._extract_tensors(InterruptsItsReader())
        raise RuntimeError("Connection closed by peer")

    y = torch.ones(1, requires_grad=True) * 2
    y.register_hook(read_and_fail)
    y.backward()


class TakesTheInterrupt:
    """Its destructor runs until the interrupt has come: Python drops what is raised there."""

    def __del__(self) -> None:
        with contextlib.suppress(KeyboardInterrupt):  # as Python does, which would print it as well
            while True:
                time.sleep(0.001)


def lose_the_interrupt_in_backward() -> None:
    import torch

    def read_and_fail(_: torch.Tensor) -> None:
        holder = TakesTheInterrupt()
        torch._jit_internal._extract_tensors(InterruptsItsReader())
        del holder
        raise RuntimeError("Connection closed by peer")

    y = torch.ones(1, requires_grad=True) * 2
    y.register_hook(read_and_fail)
    y.backward()


def interrupted_in(program: Callable[[], None]) -> bool:
    try:
        program()
    except KeyboardInterrupt:
        return True
    return False


@pytest.mark.parametrize("program", [be_read_by_ddp, lose_the_others_in_backward, lose_the_interrupt_in_backward])
def test_an_interrupt_is_not_lost_where_c_plus_plus_makes_an_error_of_it(ranks2: Ranks, program: Callable) -> None:
    assert ranks2.run(interrupted_in, program) == [True, True]
    assert ranks2.run(agree) == [1.0, 1.0]


def leave_no_grad_interrupted() -> None:
    import torch

    class NoGrad(torch.no_grad):
        def __exit__(self, *_: object) -> None:
            signal.raise_signal(signal.SIGINT)

    with NoGrad():
        pass


def computes_gradients() -> bool:
    import torch

    return torch.is_grad_enabled()


def test_an_interrupt_as_gradients_are_switched_on_again_leaves_them_on(ranks2: Ranks) -> None:
    with pytest.raises(RankError):
        ranks2.run(leave_no_grad_interrupted)
    assert ranks2.run(computes_gradients) == [True, True]


# ------------------------------------------------------------------ temporary files
def children_have_temporary_files_in() -> str:
    from multiprocessing import util

    return util.get_temp_dir()


def test_what_multiprocessing_leaves_goes_with_the_ranks(ranks2: Ranks) -> None:
    assert ranks2.run(children_have_temporary_files_in) == [str(ranks2._engines.folder)] * 2
