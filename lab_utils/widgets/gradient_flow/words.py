"""What a person reads of a gradient flow; SCRIPT is the part of widget.js.

Another language is another file like this one: sentences with {placeholders}.
"""

from __future__ import annotations

SCRIPT = {
    "slider": "time in the backward pass",
    "keys": "Up and down select a layer, space plays.",
    "ready": "rank {rank}: {ready} of {count} gradients ready",
    "ready_and_back": "rank {rank}: {ready} of {count} gradients ready, {back} back from the wire",
    "key_help": {
        "Space": "play, pause", "← →": "earlier, later", "Home End": "the beginning, the end",
        "↑ ↓": "the layer above, the layer below", "Esc": "no layer is selected",
    },
}  # fmt: skip

TITLE, HEADLINE = "Gradient flow on {ranks}", "{gradients}; {agreement}"
IN_BUCKETS, TOOK = "{gradients} in {buckets}", "{gradients}, {time}"
LAYERS, TIME = ("layer, output first", "layers", "layer"), "time ({unit})"
TIMES = ("gradient ready, then its bucket on the wire", "ready, then on the wire", "time")  # the first that fits
RANK, RANK_AND_SO_ON = "rank {rank}", "rank {rank} and so on, downwards"
BUCKET, BUCKET_HEAD = "bucket {bucket}", "bucket {bucket} · {bytes}"
IN_BUCKET, BACK = "ready, waits in its bucket", "back from the wire"
WAITING, ON_THE_WIRE, NOT_ON_THE_WIRE = "issued, a partner has not entered", "on the wire", "not seen on the wire"
EARLIER = "small: an earlier backward"
GRADIENTS, MESSAGES = "gradients, rank {source} → {to}", "messages, rank {source} → {to}"

NORM = ("norm, 1e{low} to 1e{high}", "1e{low} to 1e{high}", "norm")
NORM_AFTER, NORM_IN_THE_END = "norm after the reduction", "norm in the end"
DISAGREEMENT = ("disagreement before, after", "disagreement")
ONE_HOLDER, IN_PIECES, AGREE = "one holder", "in pieces", "agree"
DISAGREEMENT_BEFORE, AND_AFTER = "disagreement before: distance from the mean / mean", "and after"
KEEPS, UPDATES = "rank keeps", "rank updates"

TABLE = ("layer", "ready", "bucket", "sent", "back", "norm", "disagreement", "kept")
NONE, NOT_A_NUMBER, LEAST_TO_LARGEST, BEFORE_AND_AFTER = "-", "NaN", " to ", "{before} → {after}"
NOT_FINITE, DISAGREE = "not finite: {layers}", "the ranks disagree about {layers}"
AGREE_ON_ALL, AGREE_ON_OTHERS = "the ranks agree on all of them", "the ranks agree on the others"
AGREE_ON_SHARED, NONE_SHARED = "the ranks agree on what several keep", "no two ranks keep the same"

LAYER, ON_RANK = "{layer} · {shape} · {bytes} · {joined}", "rank {rank}: {gradient}"
PARAMETERS, IN_NO_BUCKET = "{count} parameters", "in no bucket"
OF_STAGE = {"input": "of what the stage was given, {count} times", "output": "of what the stage gave, {count} times"}
ABSENT, NO_GRADIENT = "is not on this rank", "no gradient came"
READY, SENT = "ready at {time}", "sent {sent}, back {back}"
OWN_NORM, OWN_NORM_AND_AFTER = "norm {before}", "norm {before}, after {after}"
APART = {"before": "disagreement before {value}", "after": "disagreement after {value}"}
UPDATED_BY, KEPT = "rank {rank} updates it", "keeps [{box}], {share}"
OP, OF_GROUP, WITH_RANK = "{op} · {whom} · {bytes}", "group {group}, number {seq}", "{kind} with rank {rank}"
UNTIL_ALL_WERE_THERE = ", {time} until all were there"

# what it refuses
NO_RECORDS = "these are no records of gradients: let the recorded function return flow.record()"
NOT_EACH_ONCE = "gradient flow needs one record of each of {size} ranks, and these are {ranks}"
NOT_RECORDED = "ranks {ranks} were not recorded during the backward: call the program with ranks.record"
STILL_INSIDE = "the gradients are compared when the `with gradient_flow(...)` block ends: ask after it"
NO_LAYER = "{layer!r} is no layer of this picture; those are {layers}"
