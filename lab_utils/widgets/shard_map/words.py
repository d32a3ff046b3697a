"""The text of a shard map: sentences about each kind, tooltips, tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from lab_utils.text import bytes_text, percent_text
from lab_utils.widgets.shard_map.record import Axis, Held, Kind
from lab_utils.widgets.shard_map.tensor_layout import Spread
from lab_utils.widgets.shard_map.totals import Row, Shards, Sum

NAMES: dict[Kind, str] = {
    "parameter": "parameters",
    "gradient": "gradients",
    "optimizer state": "optimizer state",
    "activation": "activations",
    "buffer": "buffers",
    "gathered": "gathered parameters",
}
MOST_LINES = 8


def part_text(held: int, whole: int, ranks: int) -> str:
    """ "all", "none", "1/4" (within 0.5 %, for a divisor of the number of ranks), or "31.2 %"."""
    if held == whole:
        return "all"
    if not held:
        return "none"
    parts = round(whole / held)
    if parts > 1 and ranks % parts == 0 and abs(held * parts / whole - 1) < 0.005:
        return f"1/{parts}"
    return percent_text(held / whole)


def range_text(sizes: Iterable[int]) -> str:
    """ "3.00 MB", or "2.00 MB to 3.00 MB"."""
    sizes = list(sizes)
    return " to ".join(dict.fromkeys((bytes_text(min(sizes)), bytes_text(max(sizes)))))


def sentence(shards: Shards, kind: Kind) -> str:
    """ "each rank holds 1/4 of the optimizer state: 3.00 MB of 12.0 MB", then copies and errors."""
    if kind not in shards.sums:
        return f"no rank holds {NAMES[kind]}"
    one = shards.sums[kind]
    if kind == "activation":
        who = _who(shards, one)
        return f"{who} {'keep' if who.startswith('ranks') else 'keeps'} {range_text(one.bytes)} of activations"
    return "; ".join([_holds(shards, one), *_copies(shards, one), *_amiss(shards, one)])


def _who(shards: Shards, one: Sum) -> str:
    if len(shards) == 1:
        return f"rank {shards.numbers[0]}"
    return "each rank" if one.is_even else "ranks"


def _holds(shards: Shards, one: Sum) -> str:
    who, what = _who(shards, one), f"the {NAMES[one.kind]}"
    if who != "ranks":
        part = part_text(one.bytes[0], one.whole_bytes, len(shards))
        return f"{who} holds {part} of {what}: {_of_whole(one.bytes[:1], one.whole_bytes)}"
    least, most = (size / one.whole_bytes for size in (min(one.bytes), max(one.bytes)))
    return (
        f"ranks hold {percent_text(least)} to {percent_text(most)} of {what}: {_of_whole(one.bytes, one.whole_bytes)}"
    )


def _of_whole(sizes: Sequence[int], whole_bytes: int) -> str:
    if set(sizes) == {whole_bytes}:
        return bytes_text(whole_bytes)
    return f"{range_text(sizes)} of {bytes_text(whole_bytes)}"


def _copies(shards: Shards, one: Sum) -> Iterator[str]:
    """Yield the number of copies, and whether all are equal."""
    spreads = [spread for spread in shards.spreads[one.kind] if any(len(same) > 1 for same in spread.copies.values())]
    if one.copies < 1.005:
        return
    equal = "equal " if spreads and all(spread.is_compared and not spread.differ for spread in spreads) else ""
    yield f"{one.copies:.3g} {equal}copies in all" if one.copies > 1.5 else f"in part as {equal}copies on several ranks"


def _amiss(shards: Shards, one: Sum) -> Iterator[str]:
    differ = list(dict.fromkeys(spread.name for spread in shards.spreads[one.kind] if spread.differ))
    if differ:
        more = f" and {len(differ) - 3} more" if len(differ) > 3 else ""
        yield f"copies of {', '.join(differ[:3])}{more} differ"
    if one.missing_bytes:
        yield f"{bytes_text(one.missing_bytes)} of it are on no rank"


def mesh_text(axes: Sequence[Axis]) -> str:
    """ "dp 0, tp 1": where a rank is."""
    return ", ".join(f"{axis.name} {axis.at}" for axis in axes)


def headline(shards: Shards) -> str:
    """Return the number of ranks, the mesh, and the bytes on each rank."""
    ranks = f"{len(shards)} rank{'s' if len(shards) > 1 else ''}"
    mesh = " × ".join(f"{axis.name} {axis.size}" for axis in shards.axes[0])
    totals = [rank.bytes for rank in shards.ranks]
    return " · ".join([ranks, *([f"mesh {mesh}"] if mesh else []), f"{range_text(totals)} on each"])


# ---------------------------------------------------------------------- copies of a row
def copies_text(shards: Shards, row: Row) -> str:
    """ "4 copies, equal", "4 pieces", "2 pieces × 2, equal", "rank 3 alone"; for several tensors what holds for all."""
    if not row.spreads:
        return range_text(row.bytes)
    if row.differ:
        return "copies differ"
    said = dict.fromkeys(_copies_of(shards, spread) for spread in row.told)
    if len(said) == 1:
        return next(iter(said))
    alone = all(len(same) == 1 for spread in row.told for same in spread.copies.values())
    return "no copies" if alone else "various"


def _copies_of(shards: Shards, spread: Spread) -> str:
    counts = sorted({len(same) for same in spread.copies.values()})
    pieces = len(spread.copies)
    if counts in ([], [1]):
        holder = next((same[0][0] for same in spread.copies.values()), None)
        return (
            f"{pieces} pieces" if pieces > 1 else "empty" if holder is None else f"rank {shards.numbers[holder]} alone"
        )
    equal = ", equal" if spread.is_compared else ""
    times = "-".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    return f"{times} copies{equal}" if pieces == 1 else f"{pieces} pieces × {times}{equal}"


# ---------------------------------------------------------------------- tooltips
def rank_tip(shards: Shards, at: int) -> str:
    """Return what a rank holds, a line per kind."""
    where = f" · {mesh_text(shards.axes[at])}" if shards.axes[at] else ""
    head = f"rank {shards.numbers[at]}{where} · {bytes_text(shards.ranks[at].bytes)} in all"
    return "\n".join([head, *(_kind_line(one, at) for one in shards.sums.values())])


def _kind_line(one: Sum, at: int) -> str:
    held = f"{NAMES[one.kind]}: {bytes_text(one.bytes[at])}"
    if one.kind == "activation" or not one.bytes[at]:
        return held
    shared = one.bytes[at] - one.alone[at]
    lies = "no other rank has it" if not shared else f"{bytes_text(one.alone[at])} on no other rank"
    lies = "other ranks have it too" if not one.alone[at] else lies
    return (
        f"{held} of {bytes_text(one.whole_bytes)}, {part_text(one.bytes[at], one.whole_bytes, len(one.bytes))} · {lies}"
    )


def row_head(row: Row) -> str:
    """Return the tensor's name, shape, dtype and bytes, or how many tensors share the row."""
    if not row.spreads:
        return f"{row.name} · kept for the backward"
    what = f"{row.names} tensors" if row.names > 1 else shape_text(row.told[0].whole)
    slots = ", ".join(spread.slot for spread in row.spreads if spread.slot) if row.names == 1 else ""
    dtypes = ", ".join(dict.fromkeys(held.dtype for spread in row.told for held in _any_held(spread)))
    return " · ".join([row.name, what, *filter(None, [slots, dtypes]), bytes_text(row.whole_bytes)])


def row_tip(shards: Shards, row: Row) -> str:
    """Return the row's head, then what each rank has; ranks that have the same share a line."""
    said: dict[str, list[int]] = {}
    for at in range(len(shards)):
        said.setdefault(cell_text(row, at), []).append(shards.numbers[at])
    lines = [f"{ranks_text(ranks)}: {text}" for text, ranks in said.items()]
    more = [f"and {len(lines) - MOST_LINES} more lines"] if len(lines) > MOST_LINES else []
    return "\n".join([row_head(row), *lines[:MOST_LINES], *more])


def cell_tip(shards: Shards, row: Row, at: int) -> str:
    """Return one rank's part of a row."""
    where = f" · {mesh_text(shards.axes[at])}" if shards.axes[at] else ""
    return f"{row_head(row)}\nrank {shards.numbers[at]}{where}: {cell_text(row, at)}"


def cell_text(row: Row, at: int) -> str:
    """ "[0:3, 0:16] · 192 bytes, 30.0 % · no other rank has it"."""
    if not row.spreads:
        return bytes_text(row.bytes[at])
    if not row.bytes[at]:
        return "nothing of it"
    boxes = dict.fromkeys(piece_text(held) for spread in row.told for held in spread.held[at] if held.numel)
    box = [*boxes] if len(boxes) == 1 else []
    size = f"{bytes_text(row.bytes[at])}, {part_text(row.bytes[at], row.whole_bytes, len(row.bytes))}"
    alone = sum(spread.alone_on(at) for spread in row.told)
    shared = "no other rank has it" if alone else "other ranks have it too"
    if alone and alone != sum(spread.bytes_on(at) for spread in row.told):
        shared = f"{bytes_text(alone)} on no other rank"
    return " · ".join([*box, size, shared, *(["not equal to the other copies"] if at in row.differ else [])])


def piece_text(held: Held) -> str:
    """ "[0:3, 0:16]", as Python slices it."""
    ends = zip(held.piece.offset, held.piece.shape, strict=True)
    return f"[{', '.join(f'{start}:{start + size}' for start, size in ends)}]" if held.whole else "one number"


def shape_text(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape)) or "one number"


def ranks_text(ranks: Sequence[int]) -> str:
    """ "rank 2", "ranks 0-3", "ranks 0, 2-3"; they are in order."""
    runs = [list(run) for _, run in groupby(ranks, lambda rank: rank - ranks.index(rank))]
    named = ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
    return f"rank{'s' if len(ranks) > 1 else ''} {named}"


def _any_held(spread: Spread) -> list[Held]:
    return [held for pieces in spread.held for held in pieces][:1]


# ---------------------------------------------------------------------- whole picture
def words(shards: Shards, kind: Kind) -> str:
    """Return the picture as text: sentences, a table of ranks, a table of this kind's tensors."""
    said = [f"Who holds what: {headline(shards)}", *(f"- {sentence(shards, each)}" for each in shards.kinds)]
    ranks = [("rank", *(NAMES[each] for each in shards.kinds), "in all")]
    for at, rank in enumerate(shards.ranks):
        sizes = [bytes_text(rank.bytes_of(each)) for each in shards.kinds]
        place = f" ({mesh_text(shards.axes[at])})" if shards.axes[at] else ""
        ranks.append((f"{shards.numbers[at]}{place}", *sizes, bytes_text(rank.bytes)))
    tensors = [(NAMES[kind], "on each rank", *(() if kind == "activation" else ("whole", "copies")))]
    for row in shards.rows(kind):
        more = (bytes_text(row.whole_bytes), copies_text(shards, row)) if row.spreads else ()
        tensors.append((row.name, range_text(row.bytes), *more))
    return "\n".join([*said, "", *columns(ranks), "", *columns(tensors)])


def columns(lines: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the lines with their cells aligned in columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
