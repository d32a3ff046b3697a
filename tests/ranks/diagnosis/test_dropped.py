"""A send or receive that was dropped unwaited: what it holds up for certain, what perhaps, and what it does not."""

from __future__ import annotations

import pytest

from lab_utils.comm.status.rank_state import Dropped, IssuedOp, RankState, Stream
from lab_utils.ranks.diagnosis.diagnosis import Diagnosis, diagnose

MESSAGE = Stream("message", "world", (0, 1))
SAID = "behind send #0 to rank 1 (train.py:7), which rank 0 did not wait for: "
KEEP = "keep what isend and irecv return, and call wait() on it"


def message(side: str, came_s: float) -> IssuedOp:
    return IssuedOp(MESSAGE, 0, side, side, (0, 1), "float32 x 4", "[4]", "train.py:7", came_s)


def collective(ranks: int, came_s: float, name: str = "all_reduce", group: str = "world") -> IssuedOp:
    stream, members = Stream("collective", group), tuple(range(ranks))
    return IssuedOp(stream, 0, name, "", members, "sum float32 x 4", "[4]", "train.py:9", came_s)


def seen(dropped_s: float, posted_s: float, *ops: IssuedOp) -> Diagnosis | None:
    """Rank 0 sends at 1 s and drops that; rank 1 posts the receive; then each comes to its op."""
    own = [message("send", 1.0)], [message("recv", posted_s)]
    dropped = (Dropped(own[0][0], dropped_s),)
    rank_states = {}
    for rank, op in enumerate(ops):
        issued = [*(own[rank] if rank < 2 else []), op]
        counts = {(each.stream, each.side): 1 for each in issued}
        rank_states[rank] = RankState(
            rank, "in", op.came_s, op, op.source, issued=counts, recent=tuple(issued), dropped=() if rank else dropped
        )
    return diagnose(rank_states, {})


def test_what_cannot_have_passed_holds_up_what_comes_after_for_certain() -> None:
    found = seen(2.0, 3.0, collective(2, 2.5), collective(2, 3.5))
    assert (found.kind, found.ranks, found.certain) == ("dropped", (0,), True)
    assert found.sentence == f"ranks 0-1 are in all_reduce #0 on world (train.py:9), {SAID}{KEEP}"


@pytest.mark.parametrize(
    ("dropped_s", "posted_s", "ops"),
    [
        (3.0, 2.0, [collective(2, 3.5)] * 2),  # it may have passed before it was dropped
        (2.0, 3.0, [collective(3, 3.5)] * 3),  # a ring of three may be closed the other way
        (2.0, 3.0, [collective(2, came_s, "broadcast") for came_s in (2.5, 3.5)]),  # one way only, and under way before
    ],
    ids=["late", "three ranks", "one way"],
)
def test_what_may_have_passed_or_may_not_be_needed_is_named_as_such(dropped_s, posted_s, ops) -> None:
    found = seen(dropped_s, posted_s, *ops)
    assert (found.kind, found.ranks, found.certain) == ("dropped", (0,), False)
    assert f", perhaps {SAID}" in found.sentence


@pytest.mark.parametrize("op", [collective(2, 0.5), collective(2, 3.5, group="group 0,1")], ids=["before", "elsewhere"])
def test_what_came_before_or_is_of_another_group_is_not_behind_it(op: IssuedOp) -> None:
    assert seen(2.0, 3.0, op, op) is None
