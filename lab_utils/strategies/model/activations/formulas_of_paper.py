"""What one Transformer layer keeps for its backward on one rank, by the published formulas; no torch.

Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models" (arXiv 2205.05198), section 4:
activations of 2 bytes, dropout masks of 1 byte, softmax and its dropout as kernels of their own. Statistics of the
norms, 2·B·T numbers each, are left out, as they are there.

Letters (theirs):  B batch (b)   T tokens (s)   C channels (h)   H heads (a)   V vocabulary (v)   tp ranks (t)
"""

from __future__ import annotations

from collections.abc import Iterator

from lab_utils.strategies.model.activations.terms import Term, divided, known

_HALF, _MASK, _SINGLE = 2, 1, 4  # bytes


def paper_layer(
    batch: int,
    tokens: int,
    channels: int,
    heads: int,
    *,
    tp: int = 1,
    sequence: bool = False,
    recompute: str = "none",
) -> tuple[Term, ...]:
    """Return the terms of one layer, in the order of its forward; they add up to Table 2.

    | recompute | tp alone                      | tp with sequence parallel |
    |-----------|-------------------------------|---------------------------|
    | none      | BTC (10 + 24/tp) + 5·HBT²/tp  | (34·BTC + 5·HBT²) / tp    |
    | selective | BTC (10 + 24/tp)              | 34·BTC / tp               |
    | full      | 2·BTC                         | 2·BTC / tp                |

    10 = 2 norms' inputs (4), inputs of the two column-split layers (4), masks of the two dropouts behind the row-split
    layers (2): what tp alone replicates. Full with sequence parallel is not in the table: the kept input of the layer
    is split by tokens like all of the residual stream.

    ValueError when tp does not divide the heads, or with sequence parallel the tokens.
    """
    divided(heads, tp, "heads")
    divided(tokens, tp if sequence else 1, "tokens")
    wide, square = batch * tokens * channels, heads * batch * tokens**2
    by_tokens = wide // tp if sequence else wide  # split by tokens, or whole on every rank
    if known(recompute) == "full":
        return (Term("", "input of the layer", _HALF * by_tokens),)
    return (
        Term("norm1", "input", _HALF * by_tokens),
        Term("attention.query", "input of query, key and value", _HALF * by_tokens),
        *_core(wide // tp, square // tp, recompute == "selective"),
        Term("attention.out", "input", _HALF * wide // tp),
        Term("dropout1", "mask", _MASK * by_tokens),
        Term("norm2", "input", _HALF * by_tokens),
        Term("mlp.up", "input", _HALF * by_tokens),
        Term("mlp.gelu", "input", _HALF * 4 * wide // tp),
        Term("mlp.down", "input", _HALF * 4 * wide // tp),
        Term("dropout2", "mask", _MASK * by_tokens),
    )


def _core(wide: int, square: int, selective: bool) -> Iterator[Term]:
    """Yield the terms of the heads of one rank; selective recomputation keeps their inputs alone (section 5)."""
    if selective:
        yield from (Term("attention.core", name, _HALF * wide) for name in ("query", "key", "value"))
        return
    yield Term("attention.core.scores", "query", _HALF * wide)
    yield Term("attention.core.scores", "key", _HALF * wide)
    yield Term("attention.core.softmax", "output", _HALF * square)
    yield Term("attention.core.dropout", "mask", _MASK * square)
    yield Term("attention.core.mix", "value", _HALF * wide)
    yield Term("attention.core.mix", "softmax after dropout", _HALF * square)


def paper_ends(
    batch: int, tokens: int, channels: int, vocabulary: int, *, tp: int = 1, sequence: bool = True
) -> tuple[Term, ...]:
    """Return the terms before and behind the layers, section 4.3: with sequence parallel BTC/tp + 4·BTC/tp (1 + V/C).

    The logits are 4 bytes each. A pipeline has the last three on its last stage alone; the first of p stages holds
    p micro-batches, and so p masks.
    """
    divided(vocabulary, tp, "vocabulary")
    wide = batch * divided(tokens, tp if sequence else 1, "tokens") * channels
    return (
        Term("dropout", "mask", _MASK * wide),
        Term("norm", "input", _HALF * wide),
        Term("head", "input", _HALF * wide),
        Term("loss", "logits", _SINGLE * batch * tokens * vocabulary // tp),
    )
