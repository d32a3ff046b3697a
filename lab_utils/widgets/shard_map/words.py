"""What a person reads of a shard map, of plain values; SCRIPT is the part of widget.js.

Another language is another file like this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lab_utils.text import bytes_text, counted, name_ranks, percent_text
from lab_utils.widgets.shard_map.record import Kind

SCRIPT = {
    "keys": "Left and right choose what is shown, up and down a tensor, page up and down a rank.",
    "kinds": "what is shown of each rank",
    "hint": "Point at a rank or a tensor, or use the arrow keys.",
}

TITLE = "Who holds what"
BOX = "A box is the whole tensor, its first dim downwards, its second to the right."
BESIDE = " Tensors that share a row stand beside each other, as wide as their bytes."
BAR = "A bar is as long as the bytes that a rank keeps."
BARS = "bars in bytes, from above:"

NAMES: dict[Kind, str] = {
    "parameter": "parameters",
    "gradient": "gradients",
    "optimizer state": "optimizer state",
    "activation": "activations",
    "buffer": "buffers",
    "gathered": "gathered parameters",
}

KEPT, ALONE, SHARED = "kept by this rank for its backward", "on this rank alone", "on other ranks too"
THE_WHOLE, THE_WHOLE_TENSOR = "the whole", "the whole tensor"
UNEQUAL, COPIES_THAT_DIFFER = "≠ ", "≠ copies that differ"
WHOLE, COPIES, BYTES, RANK = "whole", "copies", "bytes", "rank"
ON_EACH, IN_ALL = "on each rank", "in all"
ALL, NONE = "all", "none"


def rank_name(rank: int) -> str:
    return f"rank {rank}"


def one_of(parts: int) -> str:
    return f"1/{parts}"


def least_to_most(texts: Iterable[str]) -> str:
    return " to ".join(dict.fromkeys(texts))


def of_whole(part: str, whole_bytes: int) -> str:
    return f"{part} of {bytes_text(whole_bytes)}"


EACH_RANK, RANKS = "each rank", "ranks"


def nobody_holds(kind: Kind) -> str:
    return f"no rank holds {NAMES[kind]}"


def keeps(who: str, sizes: str) -> str:
    return f"{who} {'keep' if who == RANKS else 'keeps'} {sizes} of activations"


def holds(who: str, part: str, kind: Kind, sizes: str) -> str:
    return f"{who} {'hold' if who == RANKS else 'holds'} {part} of the {NAMES[kind]}: {sizes}"


def percents(least: float, most: float) -> str:
    return f"{percent_text(least)} to {percent_text(most)}"


def copies(count: float, equal: bool) -> str:
    """Return how many full copies there are over all ranks, from one on."""
    alike = "equal " if equal else ""
    return f"{count:.3g} {alike}copies in all" if count > 1.5 else f"in part as {alike}copies on several ranks"


def copies_differ(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"copies of {', '.join(names[:3])}{more} differ"


def missing(size_bytes: int) -> str:
    return f"{bytes_text(size_bytes)} of it are on no rank"


def headline(ranks: int, mesh: str, sizes: str) -> str:
    return " · ".join([counted(ranks, "rank"), *([f"mesh {mesh}"] if mesh else []), f"{sizes} on each"])


DIFFER, NO_COPIES, VARIOUS, EMPTY = "copies differ", "no copies", "various", "empty"


def pieces(count: int) -> str:
    return f"{count} pieces"


def rank_alone(rank: int) -> str:
    return f"rank {rank} alone"


def copies_of_pieces(pieces: int, times: str, equal: bool) -> str:
    alike = ", equal" if equal else ""
    return f"{times} copies{alike}" if pieces == 1 else f"{pieces} pieces × {times}{alike}"


ONE_NUMBER, NOTHING = "one number", "nothing of it"
NOT_SHARED, ONLY_SHARED, ODD = "no other rank has it", "other ranks have it too", "not equal to the other copies"


def rank_head(rank: int, place: str, size_bytes: int) -> str:
    return f"rank {rank}{place} · {bytes_text(size_bytes)} in all"


def kind_held(kind: Kind, size_bytes: int) -> str:
    return f"{NAMES[kind]}: {bytes_text(size_bytes)}"


def some_alone(size_bytes: int) -> str:
    return f"{bytes_text(size_bytes)} on no other rank"


def kept_for_backward(name: str) -> str:
    return f"{name} · kept for the backward"


def tensors(count: int) -> str:
    return f"{count} tensors"


def on_ranks(ranks: Sequence[int], text: str) -> str:
    return f"{name_ranks(ranks)}: {text}"


def more_lines(count: int) -> str:
    return f"and {count} more lines"


def on_rank(rank: int, place: str, text: str) -> str:
    return f"rank {rank}{place}: {text}"


def who_holds_what(headline: str) -> str:
    return f"{TITLE}: {headline}"
