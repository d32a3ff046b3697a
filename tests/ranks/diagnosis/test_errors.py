"""What an error of ranks says first: the cause, whichever rank failed first."""

from __future__ import annotations

import pytest

from lab_utils.ranks.diagnosis.errors import Failure, RankError

GLOO = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:542] {} [127.0.0.1]:29731. GLHF! \N{BEACH WITH UMBRELLA}"
CLOSED, READ = GLOO.format("Connection closed by peer"), GLOO.format("Read error")
IN_A_HOOK = f"Got the following error when running the callback: RuntimeError: {CLOSED}"


@pytest.mark.parametrize("said", [CLOSED, READ, IN_A_HOOK, "the connections to the other ranks were cut"])
def test_a_lost_connection_is_never_the_cause(said: str) -> None:
    failures = [Failure(rank, "RuntimeError", said, at_s=1.0) for rank in (0, 1, 3)]
    error = RankError([*failures, Failure(2, "ValueError", "the shard is empty", at_s=2.0)])
    assert str(error) == "rank 2 raised ValueError: the shard is empty" and error.rank == 2
    assert "ranks 0-1, 3 raised RuntimeError" in error.details
    assert "GLHF" not in error.details and "pair.cc" not in error.details and "127.0.0.1" not in error.details


def test_an_own_error_keeps_its_text() -> None:
    error = RankError([Failure(0, "ValueError", "[model.cpp:3] no. GLHF!", at_s=1.0)])
    assert str(error) == "rank 0 raised ValueError: [model.cpp:3] no. GLHF!"


@pytest.mark.parametrize(
    ("failure", "name"),
    [
        (Failure(0, "NameError", "name 'lr' is not defined", 1.0), "lr"),
        (Failure(0, "NameError", "lr is not defined here: run the %%ranks cell that defines it", 1.0), ""),
        (Failure(0, "ValueError", "name 'lr' is not defined", 1.0), ""),
    ],
)
def test_the_name_that_is_missing(failure: Failure, name: str) -> None:
    error = RankError([failure])
    assert error.missing_name == name
    error.add_hint("set it")
    assert error._render_traceback_()[-1] == "set it" and error.__notes__[-1] == "set it"
