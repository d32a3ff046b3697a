"""What a person reads of a collective's rounds; SCRIPT is the part of widget.js.

Another language is another file like this one: sentences with {placeholders}.
"""

from __future__ import annotations

TITLE = "Collective, round by round"
BEFORE = "before"
DONE, WRONG = "✓", "✕"
LEGEND = "slots and numbers: whose parts are in it · arrow: a recorded message · thick edge: just arrived"
SCRIPT = {
    "done": DONE,
    "slider": "rounds of the collective",
    "keys": "Left and right: previous and next round. Space plays.",
    "key_help": {
        "Space": "play, pause", "← →": "the previous round, the next one",
        "Home End": "before the first, after the last",
    },
    "back": "previous round",
    "on": "next round",
    "before": BEFORE,
    "round": "round {round} of {last}",
    "cell": "rank {rank}, {chunk}",
    "holds": "holds {holding}",
    "more": "… and {count} more messages",
}  # fmt: skip

HEADLINE = "{ranks}, {chunks}, {rounds}, {messages}, at most {bytes} sent per rank"

RANK = "rank {rank}"
CHUNK_HEADS = ("chunk {chunk} · {bytes}", "chunk {chunk}", "c{chunk}")  # the first that fits
ALL, TWICE, OWNER, SOME_PARTS = "✓ all", "✕ twice", "r{rank}", "{held}/{ranks}"  # in cells

CHUNK_IS = "chunk {chunk}, {elements} of {whose}, {bytes}"
ELEMENT, ELEMENTS = "element {first:,}", "elements {first:,} to {last:,}"
EACH_PART, PART_OF_RANK = "each part", "rank {rank}'s part"

NOTHING, OF_RANK, NOT_ADDED_UP = "nothing", "rank {rank}'s", "{parts}, not added up"
COMPLETE, WITHOUT, MORE_THAN_ONCE = "{parts}, complete", "{parts}, without {ranks}", "{parts}, ✕ {ranks} more than once"
CELL_HOLDS = "rank {rank}, {chunk}: holds {holding}"

MESSAGES = "{messages}, {bytes}"
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

# what it refuses
NOT_RECORDED = "nothing is recorded here: call ranks.record(...) with the function that has this block"
TOO_MANY_ELEMENTS = (
    "the part has {elements:,} elements, and 1 to {most:,} can be followed one by one; the rounds are the same for "
    "fewer"
)
NOT_VISIBLE = (
    "{op} uses a followed tensor, and its messages are not visible: write it with send and receive, or leave it out of "
    "the block"
)
NOT_EACH_ONCE = (
    "the trace has ranks 0 to {last}, and the logs are of {ranks}: every rank's function returns flow.record(), and "
    "trace.results goes here as it is"
)
NOTHING_CARRIED = (
    "no message carried numbers that came from a followed tensor: follow the collective's input, around its sends and "
    "receives"
)
TOO_MANY_CHUNKS = (
    "the parts fall into {count} chunks with different paths, and {most} can be drawn: follow a smaller tensor or "
    "fewer ranks"
)
NOT_IN_TRACE = "the logs tell of a message from rank {src} to rank {dst} that is not in this trace"
NO_ROUND = "no round {round}: rounds are 0 (before the first) to {last}"
