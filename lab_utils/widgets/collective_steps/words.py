"""What a person reads of a collective's rounds; SCRIPT is the part of widget.js.

Another language is another file like this one: sentences with {placeholders}, and functions where grammar is needed.
"""

from __future__ import annotations

from collections.abc import Collection

from lab_utils.text import bytes_text, counted, numbered

TITLE = "Collective, round by round"
BEFORE = "before"
DONE, WRONG = "✓", "✕"
LEGEND = "slots and numbers: whose parts are in it · arrow: a recorded message · thick edge: just arrived"
SCRIPT = {
    "done": DONE,
    "slider": "rounds of the collective",
    "keys": "Left and right: previous and next round. Space plays.",
    "back": "previous round",
    "on": "next round",
    "before": BEFORE,
    "round": "round {round} of {last}",
    "cell": "rank {rank}, {chunk}",
    "holds": "holds {holding}",
    "more": "… and {count} more messages",
}

RANK = "rank {rank}"
CHUNK_HEADS = ("chunk {chunk} · {bytes}", "chunk {chunk}", "c{chunk}")  # the first that fits
ALL, TWICE, OWNER, SOME_PARTS = "✓ all", "✕ twice", "r{rank}", "{held}/{ranks}"  # in cells

NOTHING, OF_RANK, NOT_ADDED_UP = "nothing", "rank {rank}'s", "{parts}, not added up"
COMPLETE, WITHOUT, MORE_THAN_ONCE = "{parts}, complete", "{parts}, without {ranks}", "{parts}, ✕ {ranks} more than once"
CELL_HOLDS = "rank {rank}, {chunk}: holds {holding}"

MESSAGE, TAG = "{src} → {dst}: {carried}, {bytes}", ", tag {tag}"
CARRIED, OF_NO_CHUNK, NO_ELEMENTS = "chunk {chunk} ({holding})", "{count:,} elements of no chunk", "no elements"
BRIEFLY, NOTHING_OF_A_CHUNK = "{src}→{dst} {then}", "nothing of a chunk"
CHUNK_THEN, ALL_CHUNKS_THEN = "chunk {chunk} (then {holding})", "all chunks (then {holding})"

OWN_PARTS = "every rank holds its own part"
RECEIVERS = {"adds": "receivers add it", "keeps": "receivers keep it", "mixes": "receivers mix ✕"}
SOME_ADD = "some receivers add, some keep"
ROUND_HEAD = "round {round}: {effect}"
ROUND_SAYS = "round {round} of {last}: {sent}, {effect}"
ROUND_LINE = "round {round}, {sent}, {effect}: {brief}"
BEFORE_THE_FIRST = "before the first of {last} rounds: {sent}"
AFTER_ROUND = "after round {round}: {wrong}"

OF_NONE, UNLIKE, OUT_OF_ORDER = (
    "{count:,} elements belong to no chunk",
    "{count:,} elements were computed from different elements",
    "elements are out of order",
)
UNLIKE_IN_MEMORY = "{count:,} elements in memory were computed from different elements"
LACKING, WITH_A_PART_TWICE = "{chunks} without all parts", "{chunks} with a part more than once"
IN_THE_RESULT, WRONG_ON = "in the result {wrong}", "✕ {ranks}: {what}"
RESULT, EVERY_RANK = "✓ the result of {ranks} is complete and in order", "every rank"


def ranks(numbers: Collection[int]) -> str:
    return numbered("rank", numbers)


def chunks(numbers: Collection[int]) -> str:
    return numbered("chunk", numbers)


def chunk_is(chunk: int, first: int, last: int, rank: int | None, size_bytes: int) -> str:
    """Return its elements, of one rank's part or of each: "chunk 2, elements 12 to 17 of each part, 24 bytes"."""
    whose = "each part" if rank is None else f"rank {rank}'s part"
    elements = f"elements {first:,} to {last:,}" if last > first else f"element {first:,}"
    return f"chunk {chunk}, {elements} of {whose}, {bytes_text(size_bytes)}"


def messages(count: int, size_bytes: int) -> str:
    return f"{counted(count, 'message')}, {bytes_text(size_bytes)}"


def headline(ranks: int, chunks: int, rounds: int, messages: int, most_bytes: int) -> str:
    return (
        f"{ranks} ranks, {counted(chunks, 'chunk')}, {counted(rounds, 'round')}, {messages} messages, "
        f"at most {bytes_text(most_bytes)} sent per rank"
    )
