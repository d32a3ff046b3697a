"""What ranks bring to an op is compared before any of it goes over the wire."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab_utils.comm.recorder.fingerprints import RECORD_BYTES, Fingerprints, Mismatch
from lab_utils.comm.recorder.pending_op import PendingOp
from lab_utils.comm.recorder.shown_state import Ledger
from lab_utils.comm.status.rank_state import Stream

RANKS = 3
WORLD = tuple(range(RANKS))


class Rank:
    """One rank's ledger and view of the file."""

    def __init__(self, path: Path, rank: int):
        self.ledger, self.fingerprints = Ledger(), Fingerprints(path, rank, RANKS)

    def collective(self, name: str, signature: str, group: str = "world", ranks: tuple[int, ...] = WORLD) -> None:
        self._bring(PendingOp("collective", name, group, ranks, signature=signature), Stream("collective", group))

    def message(self, side: str, peers: tuple[int, int], signature: str, tag: int = 0) -> None:
        self._bring(
            PendingOp(side, side, "world", WORLD, signature=signature), Stream("message", "world", peers, tag), side
        )

    def _bring(self, entry: PendingOp, stream: Stream, side: str = "") -> None:
        entry.channel = self.ledger.channel(stream, side)
        entry.seq = entry.channel.next()
        self.fingerprints.compare(entry)


@pytest.fixture
def ranks(tmp_path: Path) -> list[Rank]:
    Fingerprints.create(tmp_path / "signatures", RANKS)
    return [Rank(tmp_path / "signatures", rank) for rank in range(RANKS)]


def test_ranks_that_bring_the_same_go_on(ranks: list[Rank]) -> None:
    for _ in range(600):  # more than there are slots
        for rank in ranks:
            rank.collective("all_reduce", "sum float32 x 8")


@pytest.mark.parametrize(
    ("theirs", "mine", "text"),
    [
        (("all_reduce", "sum float32 x 8"), ("all_reduce", "sum float32 x 4"),
         "#0 on world: rank 2 brings all_reduce sum float32 x 4, rank 0 brings all_reduce sum float32 x 8"),
        (("all_reduce", "sum float32 x 8"), ("all_reduce", "sum int32 x 8"),
         "#0 on world: rank 2 brings all_reduce sum int32 x 8, rank 0 brings all_reduce sum float32 x 8"),
        (("broadcast", "root 0 float32 x 8"), ("broadcast", "root 1 float32 x 8"),
         "#0 on world: rank 2 brings broadcast root 1 float32 x 8, rank 0 brings broadcast root 0 float32 x 8"),
        (("all_reduce", "sum float32 x 8"), ("barrier", ""),
         "#0 on world: rank 2 brings barrier, rank 0 brings all_reduce sum float32 x 8"),
    ],
)  # fmt: skip
def test_the_later_rank_raises(
    ranks: list[Rank], theirs: tuple[str, str], mine: tuple[str, str], text: str
) -> None:  # fmt: skip
    ranks[0].collective(*theirs)
    with pytest.raises(Mismatch) as raised:
        ranks[2].collective(*mine)
    assert str(raised.value) == text


def test_only_the_same_op_of_the_same_group_is_compared(ranks: list[Rank]) -> None:
    ranks[0].collective("all_reduce", "sum float32 x 8")
    ranks[1].collective("all_reduce", "sum float32 x 4", "group 1,2", (1, 2))
    ranks[2].collective("all_reduce", "sum float32 x 4", "group 1,2", (1, 2))
    ranks[0].collective("barrier", "")
    ranks[1].collective("all_reduce", "sum float32 x 8")
    with pytest.raises(Mismatch, match="#1 on world: rank 1 brings all_reduce"):
        ranks[1].collective("all_reduce", "sum float32 x 8")


def test_messages_are_compared_by_sender_receiver_tag_and_number(ranks: list[Rank]) -> None:
    ranks[0].message("send", (0, 1), "float32 x 8")
    ranks[0].message("send", (0, 1), "float32 x 4", tag=7)
    ranks[1].message("recv", (0, 1), "float32 x 8")
    ranks[1].message("recv", (2, 1), "float32 x 5")
    with pytest.raises(Mismatch) as raised:
        ranks[1].message("recv", (0, 1), "float32 x 8", tag=7)
    assert str(raised.value) == (
        "message #0 on world from rank 0 to rank 1: rank 1 brings float32 x 8, rank 0 brings float32 x 4"
    )


def test_what_was_posted_before_the_groups_were_formed_anew_is_of_other_ops(ranks: list[Rank]) -> None:
    ranks[0].collective("barrier", "")
    for rank in ranks:
        rank.fingerprints.begin(epoch=2)
        rank.ledger.clear()
    ranks[1].collective("all_reduce", "sum float32 x 8")
    ranks[0].collective("all_reduce", "sum float32 x 8")


def test_a_half_written_record_is_waited_for(ranks: list[Rank], monkeypatch: pytest.MonkeyPatch) -> None:
    """The other rank is between the first and the second half of its record when this one looks."""
    ranks[0].collective("all_reduce", "sum float32 x 8")
    memory = ranks[1].fingerprints._memory
    at = next(i for i in range(0, len(memory), RECORD_BYTES) if memory[i : i + 8] != bytes(8))
    whole = memory[at + 20 : at + RECORD_BYTES]
    memory[at + 20 : at + RECORD_BYTES] = bytes(RECORD_BYTES - 20)
    looks = iter(range(100))

    def clock() -> float:
        if next(looks) == 3:
            memory[at + 20 : at + RECORD_BYTES] = whole
        return 0.0

    monkeypatch.setattr("lab_utils.comm.recorder.fingerprints.time.perf_counter", clock)
    ranks[1].collective("all_reduce", "sum float32 x 8")
    assert next(looks) > 3
