"""The soak judges strictly, and its tally tells what was not named or got over, and how to repeat it."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from lab_utils.ranks.diagnosis.errors import Failure, RankDied, RankError, RanksStuck
from lab_utils.soak.faults import Fault
from lab_utils.soak.interrupts import Overdue
from lab_utils.soak.judge import Ending, Result, complaint
from lab_utils.soak.planted import message
from lab_utils.soak.tally import Tally

FAULT = Fault(5, "exception", "ddp", rank=2, step=1, place="forward", visit=1, how="KeyError")


# ---------------------------------------------------------------------- judging
def stuck(*ranks: int, kind: str = "mismatch", certain: bool = True) -> RanksStuck:
    return RanksStuck(SimpleNamespace(kind=kind, ranks=ranks, sentence="they wait", details="", certain=certain))


def raised(rank: int, type: str = "KeyError", said: str = message(FAULT)) -> RankError:
    return RankError([Failure(rank, type, said, 1.0), Failure(0, "RuntimeError", "cut", 2.0)])


def fault(kind: str, **values: object) -> Fault:
    return replace(FAULT, kind=kind, **values)


@pytest.mark.parametrize(
    ("fault", "right", "wrong"),
    [
        (fault("kill"), [RankDied({2: -9})], [RankDied({1: -9}), RankDied({1: -9, 2: -9}), RankDied({2: -11}), None]),
        (FAULT, [raised(2)], [raised(1), raised(2, "ValueError"), raised(2, said="other"), stuck(2), None]),
        (
            fault("memory", how=""),
            [raised(2, "MemoryError", ""), raised(2, "RuntimeError", "can't allocate memory: 4 bytes")],
            [raised(2, "RuntimeError", "no space"), raised(1, "MemoryError", ""), RankDied({2: -9})],
        ),
        (
            fault("interrupt", how=""),
            [KeyboardInterrupt("ranks 0-3 interrupted")],
            [KeyboardInterrupt("ranks 0-3 interrupted; rank 1 took no notice and had to be ended"), Overdue(""), None],
        ),
        (
            fault("shape", how="longer"),
            [stuck(2), stuck(1, 2)],
            [stuck(1), stuck(2, kind="computing"), stuck(2, certain=False), raised(2), None],
        ),
        (fault("shape", place="message"), [stuck(2), stuck(3)], [stuck(1)]),
        (fault("skip", place="message"), [stuck(2)], [stuck(3)]),
    ],
)
def test_an_error_must_say_what_happened(fault: Fault, right: list, wrong: list) -> None:
    for error in right:
        assert complaint(fault, Ending(0.0, error), 4) == ""
    for error in wrong:
        said = complaint(fault, Ending(0.0, error), 4)
        assert said.startswith("wanted ") and (error is None or type(error).__name__ in said)


def test_of_two_ranks_either_may_be_blamed() -> None:
    two = fault("skip", rank=0)
    assert complaint(two, Ending(0.0, stuck(1)), 2) == ""
    assert complaint(two, Ending(0.0, stuck(1)), 3) != ""


def test_a_stop_is_outlived_with_the_right_answers() -> None:
    stop = fault("stop")
    assert complaint(stop, Ending(0.0, answers=[1.0], shown_s=0.0), 4, [1.0]) == ""
    assert "got shown as stopped, then [2.0]" in complaint(stop, Ending(0.0, answers=[2.0], shown_s=0.0), 4, [1.0])
    assert "got nothing shown" in complaint(stop, Ending(0.0, answers=[1.0]), 4, [1.0])
    assert "got RankDied" in complaint(stop, Ending(0.0, RankDied({2: -9}), shown_s=0.0), 4, [1.0])


# ---------------------------------------------------------------------- the tally
def result(number: int, kind: str = "kill", **values: object) -> Result:
    made = Result(fault(kind, number=number, how=""), named_s=0.5 * number, usable_s=2.0 * number)
    for name, value in values.items():
        setattr(made, name, value)
    return made


def test_a_clean_tally() -> None:
    tally = Tally(3, 4, [result(1), result(2), result(3, "stop")])
    assert tally.clean and list(tally.troubles()) == []
    assert [line.split("  ")[0] for line in tally.table().splitlines()] == ["fault", "kill", "stop", "all"]
    assert re.split(r"\s{2,}", tally.table().splitlines()[1]) == [
        "kill", "2", "2", "0.75 s (p90 0.95 s)", "3.00 s (p90 3.80 s)", "2", "0", "0", "0",
    ]  # fmt: skip
    assert tally.summary() == (
        "3 faults on 4 ranks, seed 3: 3 named right, 3 followed by a correct all-reduce, 0 processes left, "
        "0 files left, 0 restarts"
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"misnamed": "wanted a, got b\nand c"}, "MISNAMED: wanted a, got b\nand c"),
        ({"unusable": "StartError: no"}, "NOT USABLE: StartError: no"),
        ({"usable_s": 30.1}, "LATE: usable only after 30.10 s"),
        ({"lost": [0, 1]}, "ranks 0-1 lost their variables"),
        ({"unkept": ["rank 1 saved 0 times", "x.part was left"]}, "NOT KEPT: rank 1 saved 0 times\nx.part was left"),
        ({"left": 1}, "1 processes more than before"),
        ({"left": -2}, "2 processes fewer than before"),
    ],
)
def test_a_fault_that_was_not_got_over(values: dict, said: str) -> None:
    tally = Tally(3, 4, [result(1), result(2, **values)])
    assert not tally.clean
    assert said.partition("\n")[0] in tally.results[1].line() and "\n" not in tally.results[1].line()
    (told,) = tally.troubles()
    assert told.startswith("2: kill of rank 2 in ddp, step 1, forward 1\n")
    assert told.endswith(f"\n{said}\nagain: python -m lab_utils soak --ranks 4 --seed 3 --only 2")


@pytest.mark.parametrize(
    "values", [{"left": 1}, {"files": ["pymp-x"]}, {"restarts": 1}, {"ended_by": "StartError: no"}]
)
def test_a_soak_that_did_not_end_well(values: dict) -> None:
    assert not Tally(3, 4, [result(1)], **values).clean


def test_misnamed_faults_do_not_count_for_the_time_until_named() -> None:
    table = Tally(3, 4, [result(1), result(100, misnamed="wanted a, got b")]).table()
    assert re.split(r"\s{2,}", table.splitlines()[1])[2:4] == ["1", "0.50 s (p90 0.50 s)"]
