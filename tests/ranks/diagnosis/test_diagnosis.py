"""What is said of ranks that wait: each kind, word for word, and what is not certain."""

from __future__ import annotations

from dataclasses import replace

import pytest
from diagnosis_programs import COMPUTE, FOR_EVER, RAISE, Machine, Program, collective, recv, send

from lab_utils.comm.status.rank_state import ANY_SOURCE
from lab_utils.ranks.diagnosis.diagnosis import Diagnosis, diagnose

ALL = range(4)
ELEMENTS = "all ranks bring the same number of elements, of one type, to a collective"
ORDER = "all ranks of a group make the same collectives in the same order"
reduce_41, barrier_52 = collective(ALL, source="train.py:41"), collective(ALL, "barrier", source="train.py:52")


def seen(program: Program, absent: tuple[int, ...] = ()) -> Diagnosis | None:
    machine = Machine(program, absent).run()
    return diagnose(machine.rank_states(), machine.fates())


def at(step, line: int):
    return replace(step, source=f"train.py:{line}")


# ---------------------------------------------------------------------- word for word
CASES = {
    "skipped": (
        {0: [reduce_41], 1: [reduce_41], 2: [], 3: [reduce_41]}, "left out", (2,),
        "ranks 0-1, 3 are in all_reduce #0 on world (train.py:41); rank 2 returned without making it"),
    "raised": (
        {0: [reduce_41], 1: [reduce_41], 2: [RAISE], 3: [reduce_41]}, "left out", (2,),
        "ranks 0-1, 3 are in all_reduce #0 on world (train.py:41); rank 2 raised before making it"),
    "in another order": (
        {0: [reduce_41], 1: [reduce_41], 2: [barrier_52], 3: [reduce_41]}, "mismatch", (2,),
        "ranks 0-1, 3 are in all_reduce #0 on world (train.py:41); "
        f"rank 2 is in barrier #0 on world (train.py:52): {ORDER}"),
    "another shape": (
        {0: [reduce_41], 1: [replace(reduce_41, elements=8)], 2: [reduce_41], 3: [reduce_41]}, "mismatch", (1,),
        "in all_reduce #0 on world (train.py:41) ranks 0, 2-3 bring sum float32 x 4, rank 1 brings sum float32 x 8: "
        f"{ELEMENTS}"),
    "a send of more": (
        {0: [at(send(1, elements=8), 3)], 1: [at(recv(0), 5)]}, "mismatch", (0, 1),
        "rank 0 brings float32 x 8 to send #0 to rank 1 (train.py:3), rank 1 brings float32 x 4 to recv #0 from rank 0 "
        "(train.py:5): the receiver takes as many elements as the sender gives, of the same type"),
    "a send without its receive": (
        {0: [at(send(1), 3)], 1: [COMPUTE]}, "unmatched", (1,),
        "rank 0 is in send #0 to rank 1 (train.py:3); rank 1 returned without receiving"),
    "a second receive": (
        {0: [send(1)], 1: [recv(0), at(recv(0), 5)]}, "unmatched", (0,),
        "rank 1 is in recv #1 from rank 0 (train.py:5); rank 0 returned without sending"),
    "a receive from anybody": (
        {0: [at(recv(ANY_SOURCE), 3), at(recv(ANY_SOURCE), 4)], 1: [send(0)], 2: []}, "unmatched", (1, 2),
        "rank 0 is in recv #1 from any (train.py:4); ranks 1-2 returned without sending"),
    "a circle of receives": (
        {0: [at(recv(1), 3), send(1)], 1: [at(recv(0), 5), send(0)]}, "cycle", (0, 1),
        "ranks 0-1 wait for each other in a circle: "
        "rank 0 in recv #0 from rank 1 (train.py:3), rank 1 in recv #0 from rank 0 (train.py:5)"),
    "a circle of groups": (
        {rank: [at(collective((0, 1, 3)), 4) if rank % 2 else at(collective((0, 1, 2)), 3)] for rank in ALL},
        "cycle", (0, 1),
        "ranks 0-1 wait for each other in a circle: rank 0 in all_reduce #0 on group 0,1,2 (train.py:3) for rank 1, "
        "rank 1 in all_reduce #0 on group 0,1,3 (train.py:4) for rank 0"),
    "behind one that waits for one that returned": (
        {0: [reduce_41], 1: [at(recv(2), 7), reduce_41], 2: [], 3: [reduce_41]}, "unmatched", (2,),
        "rank 1 is in recv #0 from rank 2 (train.py:7); rank 2 returned without sending"),
}  # fmt: skip


@pytest.mark.parametrize(("program", "kind", "ranks", "sentence"), CASES.values(), ids=CASES)
def test_what_is_said(program: Program, kind: str, ranks: tuple[int, ...], sentence: str) -> None:
    found = seen(program)
    assert (found.kind, found.ranks, found.sentence, found.certain) == (kind, ranks, sentence, True)


def test_ranks_that_were_not_asked() -> None:
    found = seen({rank: [reduce_41] for rank in ALL}, absent=(1, 3))
    assert (found.kind, found.ranks, found.certain) == ("left out", (1, 3), True)
    assert found.sentence == (
        "ranks 0, 2 are in all_reduce #0 on world (train.py:41); ranks 1, 3 were not asked to run this"
    )


def test_a_rank_that_computes_may_still_come() -> None:
    found = seen({0: [reduce_41], 1: [reduce_41], 2: [FOR_EVER], 3: [at(recv(2), 7)]})
    assert (found.kind, found.ranks, found.certain) == ("computing", (2,), False)
    assert found.sentence == (
        "ranks 0-1 are in all_reduce #0 on world (train.py:41); rank 3 is in recv #0 from rank 2 (train.py:7); "
        "rank 2 is still computing (train.py:99)"
    )


@pytest.mark.parametrize(
    ("fate", "kind", "said"),
    [
        ("stopped", "stopped", "rank 1 is stopped by a signal, and SIGCONT lets it go on"),
        ("silent", "computing", "rank 1 is still in native code that answers nothing"),
        ("returned", "computing", "rank 1 is not running this and gives no answer"),
    ],
)
def test_of_a_rank_that_gives_no_answer_nothing_is_certain(fate: str, kind: str, said: str) -> None:
    """One that returned may have done its part: the other may be about to see it."""
    rank_states = Machine({0: [at(collective((0, 1)), 41)], 1: []}).run().rank_states()
    found = diagnose({0: rank_states[0]}, {1: fate})
    assert (found.kind, found.ranks, found.certain) == (kind, (1,), False)
    assert found.sentence == f"rank 0 is in all_reduce #0 on world (train.py:41); {said}"


def test_one_that_died_before_and_one_that_died_unseen() -> None:
    """What a rank had come to when it died is known only if it was asked before."""
    rank_states = Machine({rank: [reduce_41] if rank else [] for rank in ALL}).run().rank_states()
    found = diagnose(rank_states, {0: "dead"})
    assert (found.kind, found.ranks, found.certain) == ("left out", (0,), True)
    assert found.sentence.endswith("; rank 0 died before making it")
    del rank_states[0]
    found = diagnose(rank_states, {0: "dead"})
    assert (found.ranks, found.certain) == ((0,), False) and found.sentence.endswith("; rank 0 is gone")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_whose_ops_come_from_several_threads_may_go_on(rank: int) -> None:
    machine = Machine({0: [recv(1)], 1: []}).run()
    rank_states = machine.rank_states()
    rank_states[rank] = replace(rank_states[rank], threads=True)
    assert not diagnose(rank_states, machine.fates()).certain


def test_where_a_stopped_rank_stood_before_does_not_bind_it() -> None:
    found = diagnose(Machine({0: [recv(1)], 1: [recv(0)]}).run().rank_states(), {1: "stopped"})
    assert (found.kind, found.ranks, found.certain) == ("stopped", (1,), False)


def test_one_that_returned_and_one_that_computes() -> None:
    found = seen({0: [reduce_41], 1: [reduce_41], 2: [], 3: [FOR_EVER]})
    assert (found.kind, found.ranks, found.certain) == ("left out", (2,), True)


def test_nobody_waits_or_all_are_about_to_go_on() -> None:
    assert seen({0: [COMPUTE], 1: []}) is None
    machine = Machine({0: [collective((0, 1))], 1: [collective((0, 1))]})
    machine.move(0)
    machine.move(1)
    assert diagnose(machine.rank_states(), machine.fates()) is None


def test_a_difference_in_an_op_that_was_not_waited_for() -> None:
    """The later of the two raised at it, and the other waits in the next."""
    longer = collective((0, 1), elements=8, source="train.py:2")
    found = seen({0: [replace(longer, waits=False), at(collective((0, 1)), 3)], 1: [collective((0, 1))]})
    assert (found.kind, found.ranks, found.certain) == ("mismatch", (0, 1), True)
    assert found.sentence == (
        "rank 0 brings sum float32 x 8 to all_reduce #0 on world (train.py:2), "
        f"rank 1 brings sum float32 x 4 to all_reduce #0 on world (train.py:1): {ELEMENTS}"
    )


def test_a_difference_that_the_program_got_over_is_not_blamed() -> None:
    """A program may catch the error and go on; what ranks wait for later is another matter."""
    machine = Machine({0: [collective((0, 1)), COMPUTE, recv(1)], 1: [collective((0, 1)), FOR_EVER]}).run()
    rank_states = machine.rank_states()
    changed = replace(rank_states[1].recent[0], signature="sum float32 x 8")
    later = replace(rank_states[0].recent[0], seq=1)
    rank_states[0] = replace(rank_states[0], op=later, issued={(later.stream, ""): 2})
    rank_states[1] = replace(rank_states[1], recent=(changed,))
    found = diagnose(rank_states, machine.fates())
    assert (found.kind, found.certain) == ("computing", False)


def test_cells_are_named_by_their_line_and_in_full_below() -> None:
    found = seen({0: [replace(recv(1), source="In [5]:3")], 1: []})
    assert found.sentence == "rank 0 is in recv #0 from rank 1 (line 3); rank 1 returned without sending"
    assert found.details == "rank 0 is in recv #0 of shape [4] from rank 1: In [5]:3"


def test_details_quote_lines_and_tell_where_ranks_first_differ() -> None:
    here, there = (collective((0, 1), source=f"diagnosis_programs.py:{line}") for line in (7, 8))
    assert seen({0: [there, here, here], 1: [here, here]}).details.splitlines() == [
        "rank 0 is in all_reduce #2 of shape [4] on world: diagnosis_programs.py:7",
        "    from __future__ import annotations",
        "the collectives on world first differ at #0: "
        "rank 0: all_reduce (diagnosis_programs.py:8); rank 1: all_reduce (diagnosis_programs.py:7)",
    ]
