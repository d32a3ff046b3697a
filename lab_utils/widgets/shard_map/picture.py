"""Draw a shard map: a card per rank on the mesh, then which part of each tensor is on which rank."""

from __future__ import annotations

from collections.abc import Iterator

from lab_utils.render import palette
from lab_utils.render.kit import MARGIN, Picture, card, text, text_width
from lab_utils.render.palette import STRONG
from lab_utils.widgets.shard_map.picture_cards import WIDTH, Cards
from lab_utils.widgets.shard_map.picture_strips import INKS, WHOLE, Strips, paint, patterns, short, swatch
from lab_utils.widgets.shard_map.record import Kind
from lab_utils.widgets.shard_map.totals import Shards
from lab_utils.widgets.shard_map.words import headline, sentence, words

TITLE = "Who holds what"
BOX = "A box is the whole tensor, its first dim downwards, its second to the right."
BESIDE = " Tensors that share a row stand beside each other, as wide as their bytes."
BAR = "A bar is as long as the bytes that a rank keeps."


def shard_map(shards: Shards, kind: Kind, hover: bool = True) -> Picture:
    """Draw `Shards(ranks.run(…))` with the tensors of one kind; the same holdings give the same bytes."""
    cards = Cards(shards, 62, hover)
    strips = Strips(shards, kind, cards.bottom + 38, hover)
    said = short(sentence(shards, kind), WIDTH - 2 * MARGIN, 12.5)
    body = [
        *cards.draw(kind), text(said, MARGIN, cards.bottom + 26, font_size=12.5, font_weight=600), *strips.draw(),
        *_legend(shards, kind, strips, cards.few),
    ]  # fmt: skip
    return card(
        TITLE, headline(shards), body, WIDTH, strips.bottom + 58, described=words(shards, kind),
        definitions=patterns(shards.kinds),
    )  # fmt: skip


def _legend(shards: Shards, kind: Kind, strips: Strips, outlined: bool) -> Iterator[str]:
    """Draw the meaning of the fills, then how to read a box."""
    base, x = strips.bottom + 24, float(MARGIN)
    for fill, ink, meaning in _meanings(shards, kind, outlined):
        yield swatch(x, base - 4, fill, ink)
        yield text(meaning, x + 22, base)
        x += 42 + 0.9 * text_width(meaning, 11)
    several = any(len(row.drawn) > 1 for row in strips.rows)
    foot = BAR if kind == "activation" else BOX + (BESIDE if several else "")
    yield text(foot, MARGIN, base + 19, fill=palette.QUIET_INK)


def _meanings(shards: Shards, kind: Kind, outlined: bool) -> Iterator[tuple[str, str, str]]:
    ink = INKS[kind][0]
    if kind == "activation":
        yield ink, ink, "kept by this rank for its backward"
    else:
        yield ink, ink, "on this rank alone"
        yield paint(kind, True), ink, "on other ranks too"
        yield WHOLE["fill"], WHOLE["stroke"], "the whole" if outlined else "the whole tensor"
    if any(row.differ for row in shards.rows(kind)):
        yield "#ffffff", STRONG, "≠ copies that differ"
