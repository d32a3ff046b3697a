"""What a person reads of a shard map; SCRIPT is the part of widget.js.

Another language is another file like this one: sentences with {placeholders}.
"""

from __future__ import annotations

from lab_utils.widgets.shard_map.record import Kind

SCRIPT = {
    "keys": "Left and right choose what is shown, up and down a tensor, page up and down a rank.",
    "key_help": {
        "← →": "what is shown", "↑ ↓": "the tensor above, the tensor below", "Home End": "the first tensor, the last",
        "PgUp PgDn": "the rank before, the next one", "Esc": "nothing is selected",
    },
    "kinds": "what is shown of each rank",
    "hint": "Point at a rank or a tensor, or use the arrow keys.",
}  # fmt: skip

TITLE = "Who holds what"
BOX = "A box is the whole tensor, its first dim downwards, its second to the right."
BESIDE = " Tensors that share a row stand beside each other, as wide as their bytes."
BAR = "A bar is as long as the bytes that a rank keeps."
BARS = "bars in bytes, from above:"
KEPT, ALONE, SHARED = "kept by this rank for its backward", "on this rank alone", "on other ranks too"
THE_WHOLE, THE_WHOLE_TENSOR = "the whole", "the whole tensor"
UNEQUAL, UNEQUAL_COPIES = "≠ ", "≠ copies that differ"

NAMES: dict[Kind, str] = {
    "parameter": "parameters",
    "gradient": "gradients",
    "optimizer state": "optimizer state",
    "activation": "activations",
    "buffer": "buffers",
    "gathered": "gathered parameters",
}
RANK, RANK_COLUMN, WHOLE, COPIES, BYTES = "rank {rank}", "rank", "whole", "copies", "bytes"
ON_EACH, IN_ALL = "on each rank", "in all"

ALL, NONE, ONE_OF = "all", "none", "1/{parts}"
LEAST_TO_MOST, OF_WHOLE = "{least} to {most}", "{part} of {whole}"
NOBODY_HOLDS = "no rank holds {kind}"
EACH_HOLDS, ALL_HOLD = "{who} holds {part} of the {kind}: {bytes}", "ranks hold {part} of the {kind}: {bytes}"
EACH_KEEPS, ALL_KEEP = "{who} keeps {bytes} of activations", "ranks keep {bytes} of activations"
EACH_RANK = "each rank"
COPIES_IN_ALL, EQUAL_COPIES_IN_ALL = "{count:.3g} copies in all", "{count:.3g} equal copies in all"
IN_PART, EQUAL_IN_PART = "in part as copies on several ranks", "in part as equal copies on several ranks"
COPIES_DIFFER, MISSING = "copies of {names} differ", "{bytes} of it are on no rank"

DIFFER, NO_COPIES, VARIOUS, EMPTY = "copies differ", "no copies", "various", "empty"
PIECES, RANK_ALONE = "{count} pieces", "rank {rank} alone"
TIMES, TIMES_EQUAL = "{times} copies", "{times} copies, equal"
PIECES_TIMES, PIECES_TIMES_EQUAL = "{count} pieces × {times}", "{count} pieces × {times}, equal"

RANK_TOTAL = "{rank} · {bytes} in all"
NOT_SHARED, ONLY_SHARED, SOME_ALONE = "no other rank has it", "other ranks have it too", "{bytes} on no other rank"
FOR_BACKWARD, TENSORS, ONE_NUMBER = "{name} · kept for the backward", "{count} tensors", "one number"
MORE_LINES, NOTHING, ODD = "and {count} more lines", "nothing of it", "not equal to the other copies"
ON_MESH, OF_EACH = "mesh {mesh}", "{sizes} on each"

# what it refuses
NOT_EACH_ONCE = "a shard map takes the holdings of each rank once, these are of ranks {ranks}"
HOLD_NOTHING = "these ranks hold nothing: a shard map takes what holdings(model, …) gave on each rank"
OTHER_MESH = "a mesh of {sizes} has {wanted} ranks, and these are {ranks}"
UNLIKE_WHOLES = (
    "{name} is {first} as a whole on rank {first_rank} and {other} on rank {other_rank}: give holdings(…, prefix=…) "
    "where ranks hold unlike models, places=… where plain tensors are pieces"
)
STRANGE_SHARDED = "sharded= has {name}, which is no parameter of this model: give the model it shards"
STRANGE_PLACE = "places name {name!r}, which is no parameter; those are {known}"
NO_FIT = "{name} has shape {shape} here, which at offset {offset} does not fit into a whole of {whole}"
NO_KIND, NO_ROW = (
    "no rank holds any {kind!r}; kinds that are held: {kinds}",
    "{row!r} is no row of this picture; those are {rows}",
)
