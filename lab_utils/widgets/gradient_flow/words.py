"""What a person reads of a gradient flow, of plain values; SCRIPT is the part of widget.js.

Another language is another file like this one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from lab_utils.text import bytes_text, counted, percent_text, time_text

SCRIPT = {
    "slider": "time in the backward pass",
    "keys": "Up and down select a layer, space plays.",
    "ready": "rank {rank}: {ready} of {count} ready",
    "ready_and_back": "rank {rank}: {ready} of {count} ready, {back} back",
}

NONE = "-"


def number_text(value: float) -> str:
    """Format with three significant digits: 0.0341, 1.2e-05, 0, NaN."""
    return "NaN" if math.isnan(value) else f"{value:.3g}"


def number_or_none(value: float | None) -> str:
    return NONE if value is None else number_text(value)


def spread(values: Iterable[float | None], say: Callable[[float], str]) -> str:
    """Return one text if all values read alike, else "least to largest"."""
    known = [value for value in values if value is not None]
    if not known:
        return NONE
    odd = next((value for value in known if math.isnan(value)), None)
    texts = [say(min(known)), say(max(known))] if odd is None else [say(odd)]
    return " to ".join(dict.fromkeys(texts))


def _listed(names: Sequence[str], most: int = 3) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


NO_TWO_KEEP_THE_SAME = "no two ranks keep the same"
COLUMNS = ("layer", "ready", "bucket", "sent", "back", "norm", "disagreement", "kept")


def title(ranks: int) -> str:
    return f"Gradient flow on {counted(ranks, 'rank')}"


def headline(gradients: int, buckets: int, took_s: float | None, agreement: str) -> str:
    joined = f" in {counted(buckets, 'bucket')}" if buckets else ""
    took = "" if took_s is None else f", {time_text(took_s)}"
    return f"{counted(gradients, 'gradient')}{joined}{took}; {agreement}"


def not_finite(layers: Sequence[str]) -> str:
    return f"not finite: {_listed(layers)}"


def disagree(layers: Sequence[str]) -> str:
    return f"the ranks disagree about {_listed(layers)}"


def agree(every_layer: bool, but_some: bool) -> str:
    """Return that the ranks agree: on every layer or on the shared ones; `but_some` were named before."""
    on = "the others" if but_some else "all of them" if every_layer else "what several keep"
    return f"the ranks agree on {on}"


def before_and_after(before: float | None, after: float | None) -> str:
    return f"{number_or_none(before)} → {number_or_none(after)}"


def share_text(share: float) -> str:
    return f"{100 * share:.0f} %"


NOT_ON_THE_WIRE = "not seen on the wire"


def messages_between(source: int, destination: int, of_gradients: bool) -> str:
    return f"{'gradients' if of_gradients else 'messages'}, rank {source} → {destination}"


def bucket_head(bucket: int, size_bytes: int) -> str:
    return f"bucket {bucket} · {bytes_text(size_bytes)}"


LAYERS, TIMES = "layer, output first", "gradient ready, then its bucket on the wire"
IN_BUCKET, BACK = "ready, waits in its bucket", "back from the wire"
WAITING, ON_THE_WIRE = "issued, a partner has not come yet", "on the wire"
EARLIER = "small: an earlier backward"
NORM_AFTER, NORM_IN_THE_END = "norm after the reduction", "norm in the end"
DISAGREEMENT = "disagreement before, after"
DISAGREEMENT_BEFORE, AND_AFTER = "disagreement before: distance from the mean / mean", "and after"
KEEPS, UPDATES = "rank keeps", "rank updates"
ONE_HOLDER, IN_PIECES, AGREE = "one holder", "in pieces", "agree"


def time_head(unit: str) -> str:
    return f"time ({unit})"


def norm_head(low: int, high: int) -> str:
    return f"norm, 1e{low} to 1e{high}"


def rank_name(rank: int, and_so_on: bool = False) -> str:
    return f"rank {rank}" + (" and so on, downwards" if and_so_on else "")


ABSENT, NO_GRADIENT = "is not on this rank", "no gradient came"
IN_NO_BUCKET = "in no bucket"
_EDGES = {"input": "was given", "output": "gave"}


def shape_text(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape)) or "1"


def parameters(count: int) -> str:
    return f"{count} parameters"


def bucket_name(bucket: int) -> str:
    return f"bucket {bucket}"


def of_stage(kind: str, times: int) -> str:
    return f"of what the stage {_EDGES[kind]}, {times} times"


def layer_head(name: str, shape: str, size_bytes: int, joined: str) -> str:
    return f"{name} · {shape} · {bytes_text(size_bytes)} · {joined}"


def of_rank(rank: int, parts: Iterable[str]) -> str:
    return f"rank {rank}: {' · '.join(parts)}"


def ready(at_s: float) -> str:
    return f"ready at {time_text(at_s)}"


def sent(sent_s: float, back_s: float) -> str:
    return f"sent {time_text(sent_s)}, back {time_text(back_s)}"


def norm(before: float, after: float | None) -> str:
    return f"norm {number_text(before)}" + ("" if after is None else f", after {number_text(after)}")


def disagreement(when: str, value: float) -> str:
    return f"disagreement {when} {number_text(value)}"


def updated_by(rank: int) -> str:
    return f"rank {rank} updates it"


def keeps(box: str, share: float) -> str:
    return f"keeps [{box}], {percent_text(share)}"


def of_group(group: str, seq: int) -> str:
    return f"group {group}, number {seq}"


def with_rank(kind: str, peer: int) -> str:
    return f"{kind} with rank {peer}"


def on_the_wire(name: str, whom: str, size_bytes: int, source: str, times: str) -> str:
    return f"{name} · {whom} · {bytes_text(size_bytes)}{f' · {source}' if source else ''}\n{times}"


def wire_times(rank: int, sent_s: float, back_s: float, waited_s: float) -> str:
    waited = f", {time_text(waited_s)} until all were there" if waited_s > 0 else ""
    return f"rank {rank}: {sent(sent_s, back_s)}{waited}"
