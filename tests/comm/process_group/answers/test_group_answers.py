"""Whatever one asks of a recorded group, of its works and of DDP on it, the answer is plain gloo's, errors included."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import group_answers
import pytest
from gloo_world import in_a_gloo_world
from recorded_runs import Recorder, torchrun

from lab_utils.ranks import RankError, Ranks


@pytest.fixture(scope="module")
def plain(ranks2: Ranks, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    store = str(tmp_path_factory.mktemp("gloo") / "store")
    told = in_a_gloo_world(ranks2, store, [("group_answers", "answers")])
    return [of_rank["answers"] for of_rank in told]


@pytest.fixture(scope="module", autouse=True)
def fresh_groups_afterwards(ranks2: Ranks) -> Iterator[None]:
    """A message that one rank's backend refuses is counted there, and no other rank has its like."""
    yield
    with pytest.raises(RankError):
        ranks2.run(group_answers.raises_alone)


def assert_alike(told: list[dict[str, object]], plain: list[dict[str, object]]) -> None:
    differ = {
        (rank, asked): (answer, plain[rank].get(asked))
        for rank, answers in enumerate(told) for asked, answer in answers.items() if answer != plain[rank].get(asked)
    }  # fmt: skip
    assert differ == {}
    assert [answers.keys() for answers in told] == [answers.keys() for answers in plain]


def test_on_the_ranks(ranks2: Ranks, plain: list[dict[str, object]]) -> None:
    assert_alike(ranks2.run(group_answers.answers), plain)
    assert_alike(ranks2.record(group_answers.answers).results, plain)


def test_on_groups_that_were_formed_again(ranks2: Ranks, plain: list[dict[str, object]]) -> None:
    with pytest.raises(RankError):
        ranks2.run(group_answers.raises_alone)
    told = ranks2.run(group_answers.answers)
    assert [of_rank.pop("group.boxed") for of_rank in told] == [False, False]  # the box holds the group that carries it
    assert_alike(
        told, [{asked: answer for asked, answer in of_rank.items() if asked != "group.boxed"} for of_rank in plain]
    )


def test_in_a_recorded_program(tmp_path: Path, plain: list[dict[str, object]]) -> None:
    status, printed, said = Recorder(tmp_path).run(*torchrun(2, "asking_program.py"))
    assert status == 0, said
    told = [json.loads(line) for line in printed.splitlines()]
    assert_alike([of_rank["told"] for of_rank in sorted(told, key=lambda of_rank: of_rank["rank"])], plain)
