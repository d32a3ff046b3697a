"""Formula and count of one rank beside each other, line by line; no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from lab_utils.render.table import Table
from lab_utils.strategies.model.activations.terms import Kept, Term


def formula_beside_counted(terms: Sequence[Term], kept: Sequence[Kept]) -> Table:
    """Return a table of both, by module in the order of the terms; what only one of them has stands alone.

    A module's lines pair in order: a formula lists what a module keeps as autograd does.
    """
    modules = dict.fromkeys(each.module for each in (*terms, *kept))
    pairs = [pair for module in modules for pair in _of(module, terms, kept)]
    rows = [_row(term, count) for term, count in pairs]
    total = ["together", "", _text(sum(term.bytes for term in terms)), _text(sum(count.bytes for count in kept))]
    return Table(["module", "keeps", "formula", "counted"], [*rows, total])


def _of(module: str, terms: Sequence[Term], kept: Sequence[Kept]) -> Iterator[tuple[Term | None, Kept | None]]:
    return zip_longest(*([each for each in lines if each.module == module] for lines in (terms, kept)))


def _row(term: Term | None, count: Kept | None) -> list[str]:
    module = (term or count).module
    name = f"{list(count.shape)} {count.dtype}" if term is None else term.name
    return [module, name, "" if term is None else _text(term.bytes), "" if count is None else _text(count.bytes)]


def _text(size: int) -> str:
    return f"{size:,}"
