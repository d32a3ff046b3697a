"""Sentences about a shard map: on each kind, in tooltips, in tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from lab_utils.text import bytes_text, columns, counted, listed, name_ranks, percent_text
from lab_utils.widgets.shard_map import words
from lab_utils.widgets.shard_map.record import Axis, Held, Kind
from lab_utils.widgets.shard_map.rows_and_totals import Row, Shards, Sum
from lab_utils.widgets.shard_map.tensor_layout import Spread

MOST_LINES = 8


def part_text(held: int, whole: int, ranks: int) -> str:
    """ "all", "none", "1/4" (within 0.5 %, for a divisor of the number of ranks), or "31.2 %"."""
    if held == whole:
        return words.ALL
    if not held:
        return words.NONE
    parts = round(whole / held)
    if parts > 1 and ranks % parts == 0 and abs(held * parts / whole - 1) < 0.005:
        return words.ONE_OF.format(parts=parts)
    return percent_text(held / whole)


def range_text(sizes: Iterable[int]) -> str:
    """ "3.00 MB", or "2.00 MB to 3.00 MB"."""
    sizes = list(sizes)
    return _range(bytes_text(min(sizes)), bytes_text(max(sizes)))


def _range(least: str, most: str) -> str:
    return least if least == most else words.LEAST_TO_MOST.format(least=least, most=most)


def sentence(shards: Shards, kind: Kind) -> str:
    """ "each rank holds 1/4 of the optimizer state: 3.00 MB of 12.0 MB", then copies and errors."""
    if kind not in shards.sums:
        return words.NOBODY_HOLDS.format(kind=words.NAMES[kind])
    one = shards.sums[kind]
    if kind == "activation":
        who = _who(shards, one)
        return (words.EACH_KEEPS if who else words.ALL_KEEP).format(who=who, bytes=range_text(one.bytes))
    return "; ".join([_holds(shards, one), *_copies(shards, one), *_amiss(shards, one)])


def _who(shards: Shards, one: Sum) -> str | None:
    """Return the only rank, or each rank if all have as much."""
    if len(shards) == 1:
        return words.RANK.format(rank=shards.numbers[0])
    return words.EACH_RANK if one.is_even else None


def _holds(shards: Shards, one: Sum) -> str:
    who, kind = _who(shards, one), words.NAMES[one.kind]
    if who:
        part, held = part_text(one.bytes[0], one.whole_bytes, len(shards)), _of_whole(one.bytes[:1], one.whole_bytes)
        return words.EACH_HOLDS.format(who=who, part=part, kind=kind, bytes=held)
    least, most = (percent_text(size / one.whole_bytes) for size in (min(one.bytes), max(one.bytes)))
    part = words.LEAST_TO_MOST.format(least=least, most=most)
    return words.ALL_HOLD.format(part=part, kind=kind, bytes=_of_whole(one.bytes, one.whole_bytes))


def _of_whole(sizes: Sequence[int], whole_bytes: int) -> str:
    if set(sizes) == {whole_bytes}:
        return bytes_text(whole_bytes)
    return words.OF_WHOLE.format(part=range_text(sizes), whole=bytes_text(whole_bytes))


def _copies(shards: Shards, one: Sum) -> Iterator[str]:
    """Yield the number of copies, and whether all are equal."""
    spreads = [spread for spread in shards.spreads[one.kind] if any(len(same) > 1 for same in spread.copies.values())]
    if one.copies < 1.005:
        return
    equal = bool(spreads) and all(spread.is_compared and not spread.differ for spread in spreads)
    if one.copies > 1.5:
        yield (words.EQUAL_COPIES_IN_ALL if equal else words.COPIES_IN_ALL).format(count=one.copies)
    else:
        yield words.EQUAL_IN_PART if equal else words.IN_PART


def _amiss(shards: Shards, one: Sum) -> Iterator[str]:
    differ = list(dict.fromkeys(spread.name for spread in shards.spreads[one.kind] if spread.differ))
    if differ:
        yield words.COPIES_DIFFER.format(names=listed(differ))
    if one.missing_bytes:
        yield words.MISSING.format(bytes=bytes_text(one.missing_bytes))


def mesh_text(axes: Sequence[Axis]) -> str:
    """ "dp 0, tp 1": where a rank is."""
    return ", ".join(f"{axis.name} {axis.at}" for axis in axes)


def headline(shards: Shards) -> str:
    """Return the number of ranks, the mesh, and the bytes on each rank."""
    mesh = " × ".join(f"{axis.name} {axis.size}" for axis in shards.axes[0])
    on_mesh = [words.ON_MESH.format(mesh=mesh)] if mesh else []
    sizes = words.OF_EACH.format(sizes=range_text(rank.bytes for rank in shards.ranks))
    return " · ".join([counted(len(shards), "rank"), *on_mesh, sizes])


def copies_text(shards: Shards, row: Row) -> str:
    """ "4 copies, equal", "4 pieces", "2 pieces × 2, equal", "rank 3 alone"; for several tensors what holds for all."""
    if not row.spreads:
        return range_text(row.bytes)
    if row.differ:
        return words.DIFFER
    said = dict.fromkeys(_copies_of(shards, spread) for spread in row.told)
    if len(said) == 1:
        return next(iter(said))
    alone = all(len(same) == 1 for spread in row.told for same in spread.copies.values())
    return words.NO_COPIES if alone else words.VARIOUS


def _copies_of(shards: Shards, spread: Spread) -> str:
    counts = sorted({len(same) for same in spread.copies.values()})
    pieces = len(spread.copies)
    if counts in ([], [1]):
        holder = next((same[0][0] for same in spread.copies.values()), None)
        if pieces > 1:
            return words.PIECES.format(count=pieces)
        return words.EMPTY if holder is None else words.RANK_ALONE.format(rank=shards.numbers[holder])
    times = "-".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    if pieces == 1:
        return (words.TIMES_EQUAL if spread.is_compared else words.TIMES).format(times=times)
    return (words.PIECES_TIMES_EQUAL if spread.is_compared else words.PIECES_TIMES).format(count=pieces, times=times)


def rank_tip(shards: Shards, at: int) -> str:
    """Return what a rank holds, a line per kind."""
    head = words.RANK_TOTAL.format(rank=_rank(shards, at), bytes=bytes_text(shards.ranks[at].bytes))
    return "\n".join([head, *(_kind_line(one, at) for one in shards.sums.values())])


def _kind_line(one: Sum, at: int) -> str:
    held = f"{words.NAMES[one.kind]}: {bytes_text(one.bytes[at])}"
    if one.kind == "activation" or not one.bytes[at]:
        return held
    part = part_text(one.bytes[at], one.whole_bytes, len(one.bytes))
    held = words.OF_WHOLE.format(part=held, whole=bytes_text(one.whole_bytes))
    return f"{held}, {part} · {_shared(one.alone[at], one.bytes[at])}"


def _shared(alone: int, held: int) -> str:
    """Return how many of the bytes held no other rank has."""
    if not alone:
        return words.ONLY_SHARED
    return words.NOT_SHARED if alone == held else words.SOME_ALONE.format(bytes=bytes_text(alone))


def _rank(shards: Shards, at: int) -> str:
    """Return the rank and its place on the mesh: "rank 1 · dp 0, tp 1"."""
    name = words.RANK.format(rank=shards.numbers[at])
    return f"{name} · {mesh_text(shards.axes[at])}" if shards.axes[at] else name


def row_head(row: Row) -> str:
    """Return the tensor's name, shape, dtype and bytes, or how many tensors share the row."""
    if not row.spreads:
        return words.FOR_BACKWARD.format(name=row.name)
    what = words.TENSORS.format(count=row.names) if row.names > 1 else shape_text(row.told[0].whole)
    slots = ", ".join(spread.slot for spread in row.spreads if spread.slot) if row.names == 1 else ""
    dtypes = ", ".join(dict.fromkeys(held.dtype for spread in row.told for held in _any_held(spread)))
    return " · ".join([row.name, what, *filter(None, [slots, dtypes]), bytes_text(row.whole_bytes)])


def row_tip(shards: Shards, row: Row) -> str:
    """Return the row's head, then what each rank has; ranks that have the same share a line."""
    said: dict[str, list[int]] = {}
    for at in range(len(shards)):
        said.setdefault(cell_text(row, at), []).append(shards.numbers[at])
    lines = [f"{name_ranks(ranks)}: {text}" for text, ranks in said.items()]
    more = [words.MORE_LINES.format(count=len(lines) - MOST_LINES)] if len(lines) > MOST_LINES else []
    return "\n".join([row_head(row), *lines[:MOST_LINES], *more])


def cell_tip(shards: Shards, row: Row, at: int) -> str:
    """Return one rank's part of a row."""
    return f"{row_head(row)}\n{_rank(shards, at)}: {cell_text(row, at)}"


def cell_text(row: Row, at: int) -> str:
    """ "[0:3, 0:16] · 192 bytes, 30.0 % · no other rank has it"."""
    if not row.spreads:
        return bytes_text(row.bytes[at])
    if not row.bytes[at]:
        return words.NOTHING
    boxes = dict.fromkeys(piece_text(held) for spread in row.told for held in spread.held[at] if held.numel)
    box = [*boxes] if len(boxes) == 1 else []
    size = f"{bytes_text(row.bytes[at])}, {part_text(row.bytes[at], row.whole_bytes, len(row.bytes))}"
    alone = sum(spread.alone_on(at) for spread in row.told)
    shared = _shared(alone, sum(spread.bytes_on(at) for spread in row.told))
    return " · ".join([*box, size, shared, *([words.ODD] if at in row.differ else [])])


def piece_text(held: Held) -> str:
    """ "[0:3, 0:16]", as Python slices it."""
    ends = zip(held.piece.offset, held.piece.shape, strict=True)
    return f"[{', '.join(f'{start}:{start + size}' for start, size in ends)}]" if held.whole else words.ONE_NUMBER


def shape_text(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape)) or words.ONE_NUMBER


def _any_held(spread: Spread) -> list[Held]:
    return [held for pieces in spread.held for held in pieces][:1]


def summary(shards: Shards) -> list[str]:
    """Return the headline and a sentence per kind."""
    return [f"{words.TITLE}: {headline(shards)}", *(f"- {sentence(shards, kind)}" for kind in shards.kinds)]


def described(shards: Shards, kind: Kind) -> str:
    """Return the picture as text: sentences, a table of ranks, a table of this kind's tensors."""
    ranks = [(words.RANK_COLUMN, *(words.NAMES[each] for each in shards.kinds), words.IN_ALL)]
    for at, rank in enumerate(shards.ranks):
        sizes = [bytes_text(rank.bytes_of(each)) for each in shards.kinds]
        place = f" ({mesh_text(shards.axes[at])})" if shards.axes[at] else ""
        ranks.append((f"{shards.numbers[at]}{place}", *sizes, bytes_text(rank.bytes)))
    more = () if kind == "activation" else (words.WHOLE, words.COPIES)
    tensors = [(words.NAMES[kind], words.ON_EACH, *more)]
    for row in shards.rows(kind):
        more = (bytes_text(row.whole_bytes), copies_text(shards, row)) if row.spreads else ()
        tensors.append((row.name, range_text(row.bytes), *more))
    return "\n".join([*summary(shards), "", *columns(ranks), "", *columns(tensors)])
