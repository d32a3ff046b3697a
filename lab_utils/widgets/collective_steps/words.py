"""What a person reads of a collective's steps, of plain values; SCRIPT is the part of widget.js.

Another language is another file like this one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lab_utils.text import bytes_text, counted, numbered

TITLE = "Collective, step by step"
BEFORE = "before"
DONE, WRONG = "✓", "✕"
ALL, TWICE = f"{DONE} all", f"{WRONG} twice"
LEGEND = "slots and numbers: whose parts are in it · arrow: a recorded message · thick edge: just arrived"
SCRIPT = {
    "done": DONE,
    "slider": "steps of the collective",
    "keys": "Left and right go a step back and on, space plays.",
    "back": "a step back",
    "on": "a step on",
    "before": BEFORE,
    "step": "step {step} of {last}",
    "cell": "rank {rank}, {chunk}",
    "holds": "holds {holding}",
    "more": "… and {count} more messages",
}


def rank_name(rank: int) -> str:
    return f"rank {rank}"


def chunk_heads(chunk: int, size_bytes: int) -> tuple[str, ...]:
    """Return the names of a column, longest first."""
    return f"chunk {chunk} · {bytes_text(size_bytes)}", f"chunk {chunk}", f"c{chunk}"


def owner(rank: int) -> str:
    return f"r{rank}"


def some_parts(held: int, ranks: int) -> str:
    return f"{held}/{ranks}"


def parts_together(ranks: Collection[int]) -> str:
    return "+".join(map(str, ranks))


NOTHING = "nothing"


def not_added_up(separate: str) -> str:
    return f"{separate}, not added up"


def of_rank(rank: int) -> str:
    return f"rank {rank}'s"


def complete(parts: str) -> str:
    return f"{parts}, complete"


def without(parts: str, lacking: Sequence[int]) -> str:
    return f"{parts}, without {numbered('rank', lacking)}"


def more_than_once(parts: str, often: Sequence[int]) -> str:
    return f"{parts}, {WRONG} {numbered('rank', often)} more than once"


def chunk_is(chunk: int, first: int, last: int, rank: int | None, size_bytes: int) -> str:
    """Return its elements, of one rank's part or of each: "chunk 2, elements 12 to 17 of each part, 24 bytes"."""
    whose = "each part" if rank is None else f"rank {rank}'s part"
    elements = f"elements {first:,} to {last:,}" if last > first else f"element {first:,}"
    return f"chunk {chunk}, {elements} of {whose}, {bytes_text(size_bytes)}"


def cell_holds(rank: int, chunk: str, holding: str) -> str:
    return f"rank {rank}, {chunk}: holds {holding}"


def chunk_carried(chunk: int, holding: str) -> str:
    return f"chunk {chunk} ({holding})"


def of_no_chunk(elements: int) -> str:
    return f"{elements:,} elements of no chunk"


def message(src: int, dst: int, carried: str, size_bytes: int, tag: int, source: str) -> str:
    tagged, line = f", tag {tag}" if tag else "", f", {source}" if source else ""
    return f"{src} → {dst}: {carried or 'no elements'}, {bytes_text(size_bytes)}{tagged}{line}"


def chunk_then(chunk: int, holding: str) -> str:
    return f"chunk {chunk} (then {holding})"


def all_chunks_then(holding: str) -> str:
    return f"all chunks (then {holding})"


def brief_message(src: int, dst: int, then: str) -> str:
    return f"{src}→{dst} {then or 'nothing of a chunk'}"


OWN_PARTS = "every rank holds its own part"
SOME_ADD = "some receivers add, some keep"
_EFFECTS = {"adds": "add it", "keeps": "keep it", "mixes": f"mix {WRONG}"}


def receivers(effect: str) -> str:
    return f"receivers {_EFFECTS[effect]}"


def messages(count: int, size_bytes: int) -> str:
    return f"{counted(count, 'message')}, {bytes_text(size_bytes)}"


def step_head(step: int, effect: str) -> str:
    return f"step {step}: {effect}" if step else BEFORE


def step_is(step: int, last: int, sent: str, effect: str) -> str:
    return f"step {step} of {last}: {sent}, {effect}" if step else f"before the first of {last} steps: {sent}"


def step_line(step: int, sent: str, effect: str, brief: str) -> str:
    return f"step {step}, {sent}, {effect}: {brief}"


def headline(ranks: int, chunks: int, steps: int, messages: int, most_bytes: int) -> str:
    return (
        f"{ranks} ranks, {counted(chunks, 'chunk')}, {counted(steps, 'step')}, {messages} messages, "
        f"at most {bytes_text(most_bytes)} sent by a rank"
    )


def described(title: str, headline: str) -> str:
    return f"{title}: {headline}"


OUT_OF_ORDER = "elements are out of order"


def strange(elements: int) -> str:
    return f"{elements:,} elements are of no chunk"


def mixed(elements: int) -> str:
    return f"{elements:,} elements were made of unlike elements"


def mixed_in_memory(elements: int) -> str:
    return f"{elements:,} elements in memory were made of unlike elements"


def incomplete(chunks: Sequence[int]) -> str:
    return f"{numbered('chunk', chunks)} without all parts"


def with_a_part_twice(chunks: Sequence[int]) -> str:
    return f"{numbered('chunk', chunks)} with a part more than once"


def in_the_result(wrong: Sequence[str]) -> str:
    return f"in the result {'; '.join(wrong)}"


def wrong_on(ranks: Sequence[int], what: str) -> str:
    return f"{WRONG} {numbered('rank', ranks)}: {what}"


def after_step(step: int, wrong: str) -> str:
    return f"after step {step}: {wrong}"


def result_is_complete(ranks: Sequence[int] | None) -> str:
    whose = "every rank" if ranks is None else numbered("rank", ranks)
    return f"{DONE} the result of {whose} is complete and in order"
