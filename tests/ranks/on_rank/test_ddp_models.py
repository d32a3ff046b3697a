"""A DDP model in whose step a rank was missing or failed: the cause is named, and its next step is right."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import ddp_programs as programs
import pytest
from failing_programs import line_of, raised

from lab_utils.ranks import RankError, Ranks, RanksStuck
from lab_utils.ranks.on_rank.failures import _said

CLOSE = 1e-6
FACTORS = {"hook": 2.0}
MISTAKES = [
    (programs.backward_without, 0, "rank 0"),
    (programs.backward_only_on, 0, "ranks 1-3"),
    (programs.step_without, 0, "rank 0"),
    (programs.step_without, 3, "rank 3"),
]


@pytest.fixture
def ranks(ranks4: Ranks) -> Ranks:
    return ranks4


@pytest.fixture(autouse=True)
def every_process_stays(ranks: Ranks) -> Iterator[None]:
    before = [rank.pid for rank in ranks.status()]
    yield
    assert [rank.pid for rank in ranks.status()] == before


def right(ranks: Ranks, count: int, kind: str = "plain", name: str = "ddp") -> None:
    off = ranks.run(programs.right_steps, count, name, FACTORS.get(kind, 1.0))
    assert max(off) < CLOSE, (kind, off)


@pytest.mark.parametrize(
    ("mistake", "rank", "missing", "before"),
    [*((*MISTAKES[2], before) for before in (0, 1, 3)), *((*MISTAKES[0], before) for before in (1, 3)),
     (*MISTAKES[1], 0), (*MISTAKES[3], 1)],
)  # fmt: skip
def test_the_step_after_one_in_which_ranks_were_missing_is_right(
    ranks: Ranks, mistake: Callable, rank: int, missing: str, before: int
) -> None:
    """Also in the second forward, in which DDP rebuilds its buckets: each mistake, and one of them at every step."""
    ranks.run(programs.make, "plain")
    for _ in range(2):
        right(ranks, before)
        error = raised(RanksStuck, ranks.run, mistake, rank)
        assert str(error).endswith(f"; {missing} returned without making it")
        assert f"(ddp_programs.py:{line_of(mistake, 'backward()')})" in str(error)
        right(ranks, 3)


def test_steps_of_two_threads_are_followed(ranks: Ranks) -> None:
    """One ends its backward while the other ends a forward."""
    assert ranks.run(programs.forward_beside_the_end_of_backward) == [True] * 4


@pytest.mark.parametrize("kind", programs.KINDS)
def test_every_kind_of_model_is_made_ready_again(ranks: Ranks, kind: str) -> None:
    ranks.run(programs.make, kind)
    for before in (0, 2):
        right(ranks, before, kind)
        raised(RanksStuck, ranks.run, programs.backward_without, 0)
        right(ranks, 3, kind)


def test_an_error_within_backward_is_the_cause_and_the_next_step_is_right(ranks: Ranks) -> None:
    ranks.run(programs.make, "buckets")
    for before in (0, 2):
        right(ranks, before)
        error = raised(RankError, ranks.run, programs.fail_within, 2)
        assert str(error) == "rank 2 raised ValueError: planted"
        assert all(failure.op for failure in error.failures[1:]), error.details
        right(ranks, 3)


def test_another_model_stays_as_it_is(ranks: Ranks) -> None:
    """Even one whose backward is still to come."""
    ranks.run(programs.make, "plain")
    ranks.run(programs.make, "plain", "sound")
    right(ranks, 3, name="sound")
    ranks.run(programs.keep_a_loss, "sound")
    raised(RanksStuck, ranks.run, programs.backward_without, 0)
    gradients = ranks.run(programs.backward_of_the_kept, "sound")
    assert all(each == pytest.approx(gradients[0]) for each in gradients[1:])
    assert ranks.run(programs.broadcasts, "sound") == [True] * 4
    assert ranks.run(programs.broadcasts) == [False] * 4
    right(ranks, 3, name="sound")
    right(ranks, 3)


def test_a_model_whose_step_has_ended_stays_as_it_is(ranks: Ranks) -> None:
    ranks.run(programs.make, "plain")
    ranks.run(programs.make, "plain", "sound")
    right(ranks, 3, name="sound")
    raised(RanksStuck, ranks.run, programs.backward_without, 0)
    assert ranks.run(programs.broadcasts, "sound") == [True] * 4
    assert ranks.run(programs.broadcasts) == [False] * 4


def test_an_error_elsewhere_leaves_models_alone(ranks: Ranks) -> None:
    ranks.run(programs.make, "plain")
    right(ranks, 3)
    raised(RankError, ranks.run, programs.fail, None)
    assert ranks.run(programs.broadcasts) == [True] * 4
    right(ranks, 2)


def test_a_model_that_cannot_be_reset_says_what_to_do(ranks: Ranks) -> None:
    ranks.run(programs.make, "plain")
    right(ranks, 1)
    ranks.run(programs.mark_as_with_optimizers_in_backward)
    raised(RanksStuck, ranks.run, programs.backward_without, 0)
    said = (
        "ranks 0-3 raised RuntimeError: this DDP model was left in the middle of a step by a call that failed, and "
        "with an optimizer in backward it cannot be reset: make it again, such as ddp = DDP(ddp.module)"
    )
    for _ in range(2):
        assert str(raised(RankError, ranks.run, programs.step)) == said


def test_frames_of_cpp_are_left_out_of_an_errors_text() -> None:
    text = "Expected to have finished\nException raised from f at reducer.cpp:1 (most recent call first):\nframe #0: x"
    assert _said(RuntimeError(text)) == "Expected to have finished"
    assert _said(RuntimeError("plain")) == "plain"
