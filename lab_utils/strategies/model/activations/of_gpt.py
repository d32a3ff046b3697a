"""What the lab's GPT keeps for its backward on one rank, exactly; no torch.

Where it differs from the published formulas: fused attention keeps the logarithm of each row's sum in place of the
softmax, norms keep the statistics that the paper leaves out, and without dropout there are no masks. `paper_to_gpt`
adds up the differences. On a CPU; on a GPU, attention and dropout are other kernels, which keep other things.

Letters:  B batch   T tokens   C channels   H heads   V vocabulary
"""

from __future__ import annotations

from collections.abc import Iterator

from lab_utils.strategies.model.activations.paper import paper_layer
from lab_utils.strategies.model.activations.terms import Term, known

_INTEGER = 8  # bytes of a token's id


def gpt_layer(
    batch: int,
    tokens: int,
    channels: int,
    heads: int,
    *,
    element: int = 4,
    dropout: bool = False,
    recompute: str = "none",
) -> tuple[Term, ...]:
    """Return the terms of one block, in the order of its forward.

    | recompute | bytes, without dropout, of elements of e bytes; f = max(e, 4) |
    |-----------|---------------------------------------------------------------|
    | none      | 16·e·BTC + f·BHT + 4·e·BT                                     |
    | selective | 12·e·BTC + 4·e·BT: the attention modules run again            |
    | full      | e·BTC: the blocks run again                                   |

    element   bytes of an activation: 8, 4, or 2 in a model that is bfloat16 itself
    dropout   there is some: attention is then not fused, and computes in f bytes
    """
    row, wide = element * batch * tokens, element * batch * tokens * channels
    if known(recompute) == "full":
        return (Term("", "input of the block", wide),)
    masks = [Term("dropout", f"mask behind {behind}", wide) for behind in ("attention", "MLP") if dropout]
    return (
        *_norm("norm1", row, wide),
        *_attention(batch, tokens, channels, heads, element, dropout, recompute == "selective"),
        *masks[:1],
        *_norm("norm2", row, wide),
        Term("mlp.up", "input", wide),
        Term("mlp", "input of GELU", 4 * wide),
        Term("mlp.down", "input", 4 * wide),
        *masks[1:],
    )


def _norm(module: str, row: int, wide: int) -> Iterator[Term]:
    yield Term(module, "input", wide)
    yield Term(module, "mean", row)
    yield Term(module, "1 / standard deviation", row)


def _attention(
    batch: int, tokens: int, channels: int, heads: int, element: int, dropout: bool, selective: bool
) -> Iterator[Term]:
    computed = max(element, 4)  # bytes of what attention computes in
    wide, square = batch * tokens * channels, batch * heads * tokens**2
    if selective:
        yield Term("attention", "input", element * wide)
        return
    yield Term("attention.query", "input of query, key and value", element * wide)
    if not dropout:
        yield from (Term("attention", name, element * wide) for name in ("query", "key", "value"))
        yield Term("attention", "logarithm of each row's sum", computed * batch * heads * tokens)
        yield Term("attention", "output, the input of out", element * wide)
        return
    yield from (Term("attention", name, computed * wide) for name in ("query", "key"))
    yield from (Term("attention", name, computed * square) for name in ("softmax", "mask of dropout"))
    yield Term("attention", "value", computed * wide)
    yield Term("attention", "softmax after dropout", computed * square)
    yield Term("attention.out", "input", element * wide)


def gpt_ends(
    batch: int, tokens: int, channels: int, vocabulary: int, *, element: int = 4, dropout: bool = False
) -> tuple[Term, ...]:
    """Return the terms before and behind the blocks, the loss included, which is "" as the model's own forward."""
    row, wide, computed = element * batch * tokens, element * batch * tokens * channels, max(element, 4)
    return (
        Term("tokens", "ids", _INTEGER * batch * tokens),
        Term("positions", "numbers of the positions", _INTEGER * tokens),
        *(Term("dropout", "mask", wide) for _ in range(dropout)),
        *_norm("norm", row, wide),
        Term("head", "input", wide),
        Term("", "logarithms of the probabilities", computed * batch * tokens * vocabulary),
        Term("", "targets", _INTEGER * batch * tokens),
        Term("", "number of targets", computed),
    )


def paper_to_gpt(batch: int, tokens: int, channels: int, heads: int, *, element: int = 4) -> tuple[Term, ...]:
    """Return what leads from the paper's bytes of a layer to those of the lab's block without dropout: their sum."""
    row, wide, square = batch * tokens, batch * tokens * channels, batch * heads * tokens**2
    more = max(element, 4) - 4  # for each logarithm
    paper = sum(term.bytes for term in paper_layer(batch, tokens, channels, heads))
    return (
        Term("", "34·BTC + 5·HBT², by the paper", paper),
        Term("", "without dropout: its three masks", -(2 * wide + square)),
        Term("", "fused attention: softmax, before and after dropout", -4 * square),
        Term("", "fused attention: the logarithm of each row's sum", 4 * batch * heads * tokens),
        Term("", "mean and 1 / standard deviation of both norms", 8 * row),
        Term("", f"elements of {element} bytes, not 2", (element - 2) * (16 * wide + 4 * row) + more * row * heads),
    )
