"""Ranks that wait for what cannot come: who is named, how soon, and that no group's time-out was waited for."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import stuck_programs as programs
from failing_programs import line_of, raised

from lab_utils.ranks import Ranks, RanksStuck
from lab_utils.ranks.calls.cell_names import Cell
from lab_utils.ranks.on_rank import entry_points

SIZE = 4


@pytest.fixture
def ranks(ranks4: Ranks) -> Ranks:
    return ranks4


@pytest.fixture(autouse=True)
def every_rank_is_usable_after_it(ranks: Ranks) -> Iterator[None]:
    before = [rank.pid for rank in ranks.status()]
    yield
    assert ranks.run(programs.agree) == [6.0] * SIZE
    assert [rank.pid for rank in ranks.status()] == before


def at(program: Callable, text: str) -> str:
    return f"(stuck_programs.py:{line_of(program, text)})"


def sentence_of(error: RanksStuck) -> str:
    """Without the numbers of ops in their group and of groups of the same ranks: they depend on what ran before."""
    assert str(error) == error.diagnosis.sentence
    return re.sub(r"(group [\d,]+) \(\d+\)", r"\1", re.sub(r"#\d+", "#n", str(error)))


ALL_REDUCE = "all_reduce #n on world"
SAME_ELEMENTS = "all ranks bring the same number of elements, of one type, to a collective"

CASES = [
    (programs.skip, (2,), "left out", (2,),
     f"ranks 0-1, 3 are in {ALL_REDUCE} {{at}}; rank 2 returned without making it", "if dist.get_rank() != rank", 1),
    (programs.leave_ddp, (3,), "left out", (3,),
     f"ranks 0-2 are in {ALL_REDUCE} {{at}}; rank 3 returned without making it", "backward()", 0),
    (programs.mis_shape, (1, 4), "mismatch", (1,),
     f"in {ALL_REDUCE} {{at}} ranks 0, 2-3 bring sum float32 x 4, rank 1 brings sum float32 x 8: {SAME_ELEMENTS}",
     "all_reduce", 0),
    (programs.mis_shape, (0, 500_000), "mismatch", (0,),
     f"in {ALL_REDUCE} {{at}} rank 0 brings sum float32 x 1000000, ranks 1-3 bring sum float32 x 500000: "
     f"{SAME_ELEMENTS}", "all_reduce", 0),
    (programs.mis_type, (3,), "mismatch", (3,),
     f"in {ALL_REDUCE} {{at}} ranks 0-2 bring sum float32 x 4, rank 3 brings sum int32 x 4: {SAME_ELEMENTS}",
     "all_reduce", 0),
    (programs.send_in_vain, (), "unmatched", (1,),
     "rank 0 is in send #n to rank 1 {at}; rank 1 returned without receiving", "dist.send", 0),
    (programs.make_a_group_without, (3,), "left out", (3,),
     "ranks 0-2 are in new_group #n on group 0,1,2,3 {at}; rank 3 returned without making it", "new_group", 0),
]  # fmt: skip


@pytest.mark.parametrize(
    ("program", "args", "kind", "named", "sentence", "line", "after"), CASES, ids=lambda v: getattr(v, "__name__", None)
)
def test_what_cannot_come_is_named(
    ranks: Ranks, program: Callable, args: tuple, kind: str, named: tuple, sentence: str, line: str, after: int
) -> None:
    error = raised(RanksStuck, ranks.run, program, *args)
    number = line_of(program, line) + after
    assert sentence_of(error) == sentence.format(at=f"(stuck_programs.py:{number})")
    assert (error.diagnosis.kind, error.diagnosis.ranks, error.diagnosis.certain) == (kind, named, True)


def test_collectives_in_another_order(ranks: Ranks) -> None:
    error = raised(RanksStuck, ranks.run, programs.swap, 2)
    first, _, rest = sentence_of(error).partition("; ")
    assert first.startswith("ranks 0-1, 3 are in all_reduce #n on world (stuck_programs.py:")
    assert rest.startswith("rank 2 is in barrier #n on world (stuck_programs.py:")
    assert rest.endswith(": all ranks of a group make the same collectives in the same order")
    assert "first differ at" in error.details
    assert error.diagnosis.ranks == (2,)


def test_the_two_sides_of_a_message(ranks: Ranks) -> None:
    error = raised(RanksStuck, ranks.run, programs.send_too_much)
    send, receive = at(programs.send_too_much, "dist.send"), at(programs.send_too_much, "dist.recv")
    assert sentence_of(error) == (
        f"rank 0 brings float32 x 8 to send #n to rank 1 {send}, rank 1 brings float32 x 4 to recv #n from rank 0 "
        f"{receive}: the receiver takes as many elements as the sender gives, of the same type"
    )


def test_a_circle_of_receives(ranks: Ranks) -> None:
    error = raised(RanksStuck, ranks.run, programs.receive_in_a_circle)
    here = at(programs.receive_in_a_circle, "dist.recv")
    circle = ", ".join(f"rank {rank} in recv #n from rank {(rank - 1) % SIZE} {here}" for rank in (0, 3, 2, 1))
    assert sentence_of(error) == f"ranks 0-3 wait for each other in a circle: {circle}"
    assert error.diagnosis.kind == "cycle" and error.diagnosis.ranks == (0, 1, 2, 3)


def test_a_circle_of_groups(ranks: Ranks) -> None:
    error = raised(RanksStuck, ranks.run, programs.groups_in_two_orders)
    assert error.diagnosis.kind == "cycle" and error.diagnosis.ranks == (0, 1)
    assert "rank 0 in all_reduce #n on group 0,1,2" in sentence_of(error)


def test_a_rank_that_was_not_asked(ranks: Ranks) -> None:
    cell = Cell("cell.py", "In [3]", "import torch\nimport torch.distributed as dist\ndist.all_reduce(torch.ones(4))")
    error = raised(RanksStuck, lambda: ranks.call(entry_points.run_cell, cell, only=[0, 2]))
    assert sentence_of(error) == (
        "ranks 0, 2 are in all_reduce #n on world (line 3); ranks 1, 3 were not asked to run this"
    )
    assert "In [3]:3" in error.details


def test_ranks_that_are_only_slow_are_left_alone(ranks: Ranks) -> None:
    """One comes to the collective long after the others have been looked into."""
    assert ranks.run(programs.come_late, 1, 2.0) == [6.0] * SIZE


def test_status_says_who_waits_for_whom(ranks: Ranks) -> None:
    errors: list[BaseException] = []
    stuck = threading.Thread(target=lambda: errors.append(raised(RanksStuck, ranks.run, programs.skip, 1)))
    stuck.start()
    while not (status := ranks.status())[0].waits_for:
        time.sleep(0.01)
    stuck.join()
    assert status[0].waits_for == "rank 1" and "of shape [4] on world (stuck_programs.py:" in status[0].doing
    assert "rank 1 returned without making it" in status.says and status.says in repr(status)
    assert status[1].doing == "idle" and len(errors) == 1
