"""Collectives chunk by chunk from recorded messages: real ranks against the rounds as they should be, and mistakes."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import chunk_programs as programs
import numpy as np
import pytest
import traitlets
from rounds_as_data import Round, ring_rounds, tree_rounds, two_level_rounds

from lab_utils.comm.algorithms.rounds import ring_chunk
from lab_utils.ranks import RankError, Ranks
from lab_utils.render.palette import RANKS
from lab_utils.timeline import Op, Trace, bytes_sent, message_rounds
from lab_utils.widgets.collective_steps.picture import collective_panels
from lab_utils.widgets.collective_steps.record import ChunkLog, Over, Posted, Wrote
from lab_utils.widgets.collective_steps.rounds import ChunkRounds
from lab_utils.widgets.collective_steps.sentences import message_briefly
from lab_utils.widgets.collective_steps.widget import CollectiveSteps

NUMEL = programs.NUMEL
SVG = "{http://www.w3.org/2000/svg}"


def recorded(ranks: Ranks, collective: str, numel: int = NUMEL) -> tuple[ChunkRounds, Trace, list[list[float]]]:
    trace = ranks.record(programs.followed, collective, numel)
    rounds = ChunkRounds.of(trace, [log for log, _ in trace.results])
    assert len(rounds.sent) == message_rounds(trace)
    assert rounds.bytes_sent == bytes_sent(trace)
    assert sum(map(len, rounds.sent)) == sum(op.kind == "send" for op in trace)
    return rounds, trace, [out for _, out in trace.results]


def summed(n: int) -> list[float]:
    return [n * i + 100 * sum(range(n)) for i in range(NUMEL)]


def complete(rounds: ChunkRounds, k: int, rank: int, chunk: int) -> bool:
    """Whether the rank held the complete chunk after so many rounds, with each part once."""
    return rounds.chunks[chunk].ranks in rounds.holds[k][rank][chunk]


def all_complete(rounds: ChunkRounds) -> bool:
    chunks = range(len(rounds.chunks))
    return all(complete(rounds, len(rounds.sent), rank, c) for rank in range(rounds.world_size) for c in chunks)


PLANNED = {
    "ring all_reduce": lambda n: ring_rounds(n),
    "ring reduce_scatter": lambda n: ring_rounds(n, "reduce_scatter"),
    "ring all_gather": lambda n: ring_rounds(n, "all_gather"),
    "tree all_reduce": lambda n: tree_rounds(n),
    "tree reduce_scatter": lambda n: tree_rounds(n, "reduce_scatter"),
    "tree all_gather": lambda n: tree_rounds(n, "all_gather"),
    "two_level all_reduce": lambda n: two_level_rounds(n, 2),
}


@pytest.mark.parametrize("collective", PLANNED)
@pytest.mark.parametrize("n", [2, 4])
def test_what_is_seen_is_what_was_planned(n: int, collective: str, request: pytest.FixtureRequest) -> None:
    """Message by message, and chunk by chunk on every rank after every round."""
    rounds, _, _ = recorded(request.getfixturevalue(f"ranks{n}"), collective)
    planned: list[Round] = PLANNED[collective](n)
    assert len(rounds.sent) == len(planned)
    place = _planned_chunks(rounds, n, "all_gather" in collective)
    for seen, wanted in zip(rounds.sent, planned, strict=True):
        expected = {(m.src, m.dst): set(m.chunks) for m in wanted.messages}
        assert {(m.src, m.dst): {p for c in m.chunks for p in place[c]} for m in seen} == expected
        assert {m.effect for m in seen} == {"adds" if wanted.adds else "keeps"}
        for rank, held in enumerate(rounds.holds[wanted.number + 1]):
            for c, holding in enumerate(held):
                for p in place[c]:
                    assert holding == ((tuple(sorted(wanted.holds[rank][p])),) if wanted.holds[rank][p] else ())
    assert rounds.results == tuple(replace(result, wrong=()) for result in rounds.results)


def _planned_chunks(rounds: ChunkRounds, n: int, gathers: bool) -> list[list[int]]:
    """The chunks as planned, 1/n of the tensor each, that lie in each chunk as seen."""
    if gathers:
        return [list(chunk.ranks) for chunk in rounds.chunks]
    size = NUMEL // n
    return [list(range(chunk.start // size, chunk.stop // size)) for chunk in rounds.chunks]


@pytest.mark.parametrize("n", [2, 4])
@pytest.mark.parametrize("collective", ["ring all_reduce", "my ring"])
def test_a_ring(n: int, collective: str, request: pytest.FixtureRequest) -> None:
    rounds, _, outs = recorded(request.getfixturevalue(f"ranks{n}"), collective)
    assert len(rounds.sent) == 2 * (n - 1) and len(rounds.chunks) == n and all_complete(rounds)
    assert rounds.bytes_sent == [2 * (n - 1) * NUMEL * 4 // n] * n
    assert outs == [summed(n)] * n
    assert all(result.complete == tuple(range(n)) and not result.wrong for result in rounds.results)


def test_uneven_chunks_and_empty_messages(ranks4: Ranks) -> None:
    rounds, _, _ = recorded(ranks4, "ring all_reduce", 10)
    assert [(chunk.start, chunk.stop, chunk.bytes) for chunk in rounds.chunks] == [
        (0, 3, 12), (3, 6, 12), (6, 8, 8), (8, 10, 8)
    ]  # fmt: skip
    rounds, _, _ = recorded(ranks4, "ring all_reduce", 2)
    assert len(rounds.chunks) == 2 and all_complete(rounds)
    empty = [message for sent in rounds.sent for message in sent if not message.chunks and not message.bytes]
    assert len(empty) == 12
    assert message_briefly(empty[0], rounds) == f"{empty[0].src}→{empty[0].dst} nothing of a chunk"


def test_a_message_of_all_chunks_is_said_briefly(ranks2: Ranks) -> None:
    rounds, _, _ = recorded(ranks2, "tree reduce_scatter")
    assert message_briefly(rounds.sent[0][0], rounds) == "1→0 all chunks (then 0+1, complete)"


@pytest.mark.parametrize(
    ("collective", "count", "chunks"), [("my all_gather", 1, 4), ("my maximum", 2, 1), ("my broadcast", 2, 1)]
)
def test_what_a_learner_writes(ranks4: Ranks, collective: str, count: int, chunks: int) -> None:
    """Requests waited for together, a batch in another dtype, blocking calls."""
    rounds, _, _ = recorded(ranks4, collective)
    assert len(rounds.sent) == count and len(rounds.chunks) == chunks and all_complete(rounds)
    assert all(not result.wrong for result in rounds.results)


def test_receives_from_anybody(ranks4: Ranks) -> None:
    """They are not yet added while rank 0 takes one after the other; then the sum of the stack is there at once."""
    rounds, _, _ = recorded(ranks4, "my reduce")
    came = [message.src for sent in rounds.sent for message in sent]
    assert sorted(came) == [1, 2, 3] and set(rounds.holds[2][0][0]) == {(0,), (came[0],), (came[1],)}
    assert [complete(rounds, 3, rank, 0) for rank in range(4)] == [True, False, False, False]


def test_a_group_of_some_ranks(ranks4: Ranks) -> None:
    rounds, _, _ = recorded(ranks4, "three of four")
    assert len(rounds.sent) == 4 and [chunk.ranks for chunk in rounds.chunks] == [(0, 1, 2)] * 3
    assert [complete(rounds, 4, rank, 0) for rank in range(4)] == [True, True, True, False]


def test_mistakes_are_seen(ranks4: Ranks) -> None:
    twice, _, outs = recorded(ranks4, "adds twice")
    assert outs[0] != summed(4)
    assert twice.results[0].wrong == ("chunks 0, 2, 3 with a part more than once",)
    shifted, _, _ = recorded(ranks4, "adds to the wrong chunk")
    assert [m.effect for m in shifted.sent[0]] == ["mixes"] * 4 and shifted.mixed[1] == (NUMEL // 4,) * 4
    assert shifted.results[0].wrong == ("chunks 0, 1, 2, 3 without all parts",)
    again, _, _ = recorded(ranks4, "sends its own again")
    assert again.results[0].wrong == ("elements are out of order",) and again.results[0].complete == (0, 3)
    assert again.holds[3][0] == (((0,),), (), (), ((3,),))


def test_what_nobody_sees(ranks2: Ranks) -> None:
    with pytest.raises(RankError, match="all_reduce uses a followed tensor, and its messages are not visible"):
        ranks2.record(programs.followed, "hidden")
    with pytest.raises(RankError, match="nothing is recorded here"):
        ranks2.run(programs.followed, "my ring")


# ---------------------------------------------------------------------- without ranks
def ring_by_hand(n: int, size: int = 1) -> tuple[Trace, list[ChunkLog]]:
    """An in-place ring all-reduce as the notes of n ranks would tell of it; each chunk has `size` elements."""
    ops, logs = [], []
    for rank in range(n):
        right, left, events, mine = (rank + 1) % n, (rank - 1) % n, [], []
        for k in range(2 * (n - 1)):
            out, back = (ring_chunk(r, k, n) for r in (rank, left))
            sent, arrived = (right_of(rank, right, k), right_of(left, rank, k))
            room = range(n * size, (n + 1) * size)
            events += [Posted("send", sent, chunk(out, size)), Posted("recv", arrived, room)]
            events += [Over("recv", arrived), Over("send", sent)]
            sources = (chunk(back, size), room) if k < n - 1 else (room,)
            events.append(Wrote(chunk(back, size), sources))
            mine.append(Op(rank, "send", "send", "world", seq=k, bytes=4 * size, peer=right))
        ops.append(tuple(mine))
        logs.append(ChunkLog(rank, 4, (n + 1) * size, range(n * size), tuple(events), range(n * size)))
    return Trace(tuple(ops)), logs


def right_of(source: int, destination: int, seq: int) -> tuple:
    return source, destination, 0, "world", seq


def chunk(number: int, size: int) -> range:
    return range(number * size, (number + 1) * size)


@pytest.mark.parametrize("n", [2, 3, 8])
def test_rings_of_any_size(n: int) -> None:
    trace, logs = ring_by_hand(n, 3)
    rounds = ChunkRounds.of(trace, logs)
    assert len(rounds.sent) == 2 * (n - 1) and len(rounds.chunks) == n and all_complete(rounds)
    assert rounds.bytes_sent == bytes_sent(trace)
    assert all({m.effect for m in sent} == {"adds" if k < n - 1 else "keeps"} for k, sent in enumerate(rounds.sent))


def test_errors_name_the_mend() -> None:
    trace, logs = ring_by_hand(3)
    with pytest.raises(ValueError, match=r"ranks 0 to 2, and the logs are of \[1, 2, None\]: every rank's function"):
        ChunkRounds.of(trace, [*logs[1:], None])
    with pytest.raises(ValueError, match="a message from rank 0 to rank 1 that is not in this trace"):
        ChunkRounds.of(Trace(((), (), ())), logs)
    with pytest.raises(ValueError, match="no message carried numbers that came from a followed tensor"):
        ChunkRounds.of(trace, [replace(log, events=()) for log in logs])
    with pytest.raises(ValueError, match="ranks 0, 1, 2 wait for each other's messages in a circle"):
        ChunkRounds.of(trace, [replace(log, events=tuple(sorted(log.events, key=_receives_first))) for log in logs])
    with pytest.raises(ValueError, match="fall into 65 chunks with different paths, and 64 can be drawn"):
        ChunkRounds.of(*every_second_element(65))


def every_second_element(chunks: int) -> tuple[Trace, list[ChunkLog]]:
    """Rank 0 sends those to rank 1, and keeps what is between."""
    key, places = right_of(0, 1, 0), np.arange(0, chunks, 2)
    sends, takes = ((Posted(end, key, places), Over(end, key)) for end in ("send", "recv"))
    trace = Trace(((Op(0, "send", "send", "world", bytes=4, peer=1),), ()))
    return trace, [ChunkLog(rank, 4, chunks, range(chunks), (sends, takes)[rank]) for rank in (0, 1)]


def _receives_first(event: Posted | Over | Wrote) -> int:
    return {("Posted", "recv"): 0, ("Over", "recv"): 1}.get((type(event).__name__, getattr(event, "end", "")), 2)


def test_pictures_are_the_same_each_time() -> None:
    first, second = (CollectiveSteps(*ring_by_hand(n), "a ring") for n in (4, 4))
    assert first.to_svg() == second.to_svg() and first.svg == second.svg and first.data == second.data
    for svg in (first.svg, first.to_svg(), collective_panels("a ring", first.rounds, hover=False).svg):
        root = ET.fromstring(svg)
        assert root.attrib["role"] == "img" and "NaN" not in svg
        width, height = map(float, root.attrib["viewBox"].split()[2:])
        assert all(
            float(x) <= width and float(y) <= height for x, y in re.findall(r'<text x="([\d.]+)" y="([\d.]+)"', svg)
        )
    assert repr(first) == "a ring: 4 ranks, 4 chunks, 6 rounds, 24 messages, at most 24 bytes sent per rank"
    assert (
        "round 1, 4 messages, 16 bytes, receivers add it: 0→1 chunk 3 (then 0+1, without ranks 2, 3)" in first.words()
    )
    assert first.words().endswith("✓ the result of every rank is complete and in order")
    assert len(collective_panels("a ring", ChunkRounds.of(*ring_by_hand(8)), hover=False).svg) < 350_000


@pytest.mark.parametrize("ranks", [2, 3, 4, 5, 8])
def test_one_panel_a_round_and_one_arrow_a_chunk_that_travels(ranks: int) -> None:
    rounds = ChunkRounds.of(*ring_by_hand(ranks))
    panels = ET.fromstring(collective_panels("ring", rounds).svg).findall(f".//{SVG}g[@data-round]")
    assert [panel.get("data-round") for panel in panels] == [str(number) for number in range(2 * ranks - 1)]
    for panel, sent, holds in zip(panels, [(), *rounds.sent], rounds.holds, strict=True):
        lines = panel.findall(f"{SVG}g[@data-message]/{SVG}path[@fill='none']")
        assert len(lines) == sum(len(message.chunks) for message in sent)
        cells = [title.text for title in panel.findall(f"{SVG}rect/{SVG}title")]
        assert len(cells) == ranks * ranks
        assert sum("complete" in cell for cell in cells) == sum(tuple(range(ranks)) in h for row in holds for h in row)
        slots = [path.get("d").count("M") for path in panel.iter(f"{SVG}path") if path.get("fill") in RANKS]
        assert sum(slots) == sum(len(parts) for row in holds for holding in row for parts in holding)


def test_the_halves_are_labelled_and_the_parts_are_named() -> None:
    four, eight = (
        {word.text for word in ET.fromstring(CollectiveSteps(*ring_by_hand(n)).to_svg()).iter(f"{SVG}text")}
        for n in (4, 8)
    )
    assert {"before", "round 3: receivers add it", "round 4: receivers keep it"} <= four
    assert {"0+1", "0+1+2", "✓ all", "chunk 3", "round 6: receivers keep it", "rank 3"} <= four
    assert {"2/8", "7/8", "✓ all"} <= eight


def test_the_round_is_pythons_too() -> None:
    ring = CollectiveSteps(*ring_by_hand(3))
    ring.round = 4
    with pytest.raises(traitlets.TraitError, match=r"no round 5: rounds are 0 \(before the first\) to 4"):
        ring.round = 5
    assert "image/svg+xml" in ring._repr_mimebundle_()[0] and ring.round == 4
