"""Ranks that raise, wait for ever, are interrupted or are killed: what is said, how soon, and that one goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator

import failing_programs
import pytest
from failing_programs import (
    compute_for_ever,
    end_at_once,
    line_of,
    mistake_in_an_op,
    raise_everywhere,
    raise_on_one,
    raised,
    total_of_ranks,
)

from lab_utils import start_ranks
from lab_utils.ranks import RankError, Ranks, StartError
from lab_utils.ranks.on_rank import entry_points

PROGRAMS = failing_programs.__file__


@pytest.fixture
def ranks(ranks4: Ranks) -> Ranks:
    return ranks4


@pytest.fixture(autouse=True)
def the_next_run_works(ranks: Ranks) -> Iterator[None]:
    """After every test in this file, whatever it did."""
    yield
    assert ranks.run(total_of_ranks) == [6.0] * 4


# ------------------------------------------------------------------ exceptions
def test_a_rank_that_raises_is_named_with_its_traceback(ranks: Ranks) -> None:
    error = raised(RankError, ranks.run, raise_on_one, 1)
    raised_at, waited_at = line_of(raise_on_one, "raise ValueError"), line_of(raise_on_one, "all_reduce")
    assert str(error) == "rank 1 raised ValueError: the shard is empty"
    assert error.details.splitlines() == [
        "Traceback of rank 1:",
        f"  {PROGRAMS}:{raised_at} in raise_on_one",
        '    raise ValueError("the shard is empty")',
        f"ranks 0, 2-3 were left waiting in all_reduce #{_seq(error)} of shape [4] on world "
        f"(failing_programs.py:{waited_at})",
    ]
    assert error.rank == 1 and error.failures[0].type == "ValueError"


def _seq(error: RankError) -> str:
    return error.failures[-1].op.partition("#")[2].split()[0]


def test_each_rank_can_be_the_one_that_raises(ranks: Ranks) -> None:
    for rank in range(4):
        error = raised(RankError, ranks.run, raise_on_one, rank)
        assert str(error).startswith(f"rank {rank} raised ValueError: the shard is empty")
        assert [failure.rank for failure in error.failures][0] == rank and len(error.failures) == 4


def test_ranks_with_the_same_words_are_named_together(ranks: Ranks) -> None:
    error = raised(RankError, ranks.run, raise_everywhere)
    raised_at = line_of(raise_everywhere, "raise KeyError")
    words = {"ranks 0-1 raised KeyError: 'w0'", "ranks 2-3 raised KeyError: 'w1'"}
    (other,) = words - {str(error)}
    assert f"{other} ({PROGRAMS}:{raised_at})" in error.details.splitlines()
    assert error.details.count("Traceback of") == 1


def test_recording_ends_with_the_error(ranks: Ranks) -> None:
    raised(RankError, ranks.record, raise_on_one, 0)
    trace = ranks.record(total_of_ranks)
    assert trace.results == [6.0] * 4
    assert {op.name for op in trace if op.kind == "collective"} == {"all_reduce"}


def test_what_was_printed_before_the_error_is_shown(ranks: Ranks, capsys: pytest.CaptureFixture) -> None:
    def speak_and_fail() -> None:
        print("so far")
        raise ValueError

    raised(RankError, ranks.run, speak_and_fail)
    assert capsys.readouterr().out == "ranks 0-3: so far\n"


def test_exit_does_not_end_the_ranks(ranks: Ranks) -> None:
    pids = [rank.pid for rank in ranks.status()]
    error = raised(RankError, ranks.run, lambda: exit(3))
    assert str(error).startswith("ranks 0-3 raised SystemExit: 3")
    assert ranks.run(os.getpid) == pids


def test_a_name_that_no_rank_has(ranks: Ranks) -> None:
    error = raised(RankError, ranks.run, "no_such_function")
    assert str(error).startswith(
        "ranks 0-3 raised NameError: no_such_function is not defined here: run the %%ranks cell"
    )


def test_a_notebook_shows_the_sentence_and_not_our_call_stack(ranks: Ranks) -> None:
    error = raised(RankError, ranks.run, raise_on_one, 1)
    assert error._render_traceback_() == [f"RankError: {error}", *error.details.splitlines()]
    assert error.__notes__ == [error.details]


# ------------------------------------------------------------------ while starting
def test_a_rank_that_dies_while_the_group_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_points, "form", end_at_once)
    error = raised(StartError, start_ranks, 2)
    assert str(error) == "the ranks could not form their group: one of them ended with exit code 5"


def test_the_listener_of_reports_may_raise(ranks: Ranks) -> None:
    def listener(rank: int, values: dict) -> None:
        raise LookupError("no such curve")

    with pytest.raises(LookupError, match="no such curve"):
        ranks.run(compute_for_ever, on_report=listener)


def test_a_mistake_after_an_op_that_failed_is_the_ranks_own(ranks: Ranks) -> None:
    error = raised(RankError, ranks.run, mistake_in_an_op)
    assert "ranks 0-3 raised" in str(error) and "left waiting" not in str(error) + error.details
