"""What the lab's GPT keeps for its backward on one rank, exactly; no torch.

Where it differs from the published formulas: fused attention keeps the logarithm of each row's sum in place of the
softmax, norms keep the statistics that the paper leaves out, and without dropout there are no masks. `paper_to_gpt`
adds up the differences. On a CPU; on a GPU, attention and dropout are other kernels, which keep other things.

Letters:  B batch   T tokens   C channels   H heads   V vocabulary
"""

from __future__ import annotations

from collections.abc import Iterator

from lab_utils.strategies.model.activations.formulas_of_paper import paper_layer
from lab_utils.strategies.model.activations.terms import Term, divided, known

_INTEGER = 8  # bytes of a token's id


def gpt_layer(
    batch: int,
    tokens: int,
    channels: int,
    heads: int,
    *,
    tp: int = 1,
    sequence: bool = False,
    recompute: str = "none",
    element: int = 4,
    dropout: bool = False,
) -> tuple[Term, ...]:
    """Return the terms of one block, in the order of its forward; without dropout they add up to, with e = element:

    | recompute | tp alone                                            | tp with sequence parallel           |
    |-----------|-----------------------------------------------------|-------------------------------------|
    | none      | e·BTC (4 + 12/tp) + 4·e·BT + max(e, 4)·BHT/tp       | (16·e·BTC + 4·e·BT + max(e, 4)·BHT) / tp |
    | selective | e·BTC (4 + 8/tp) + 4·e·BT                           | (12·e·BTC + 4·e·BT) / tp            |
    | full      | e·BTC                                               | e·BTC / tp                          |

    sequence   with sequence parallelism, as `split(model, plans.GPT, mesh, sequence)`
    recompute  selective: the attention modules run again; full: the blocks
    element    bytes of an activation: 8, 4, or 2 in a model that is bfloat16 itself
    dropout    there is some, so that attention is not fused

    ValueError when tp does not divide the heads, or with sequence parallelism the tokens.
    """
    divided(heads, tp, "heads")
    here = batch * divided(tokens, tp if sequence else 1, "tokens")  # tokens between the split layers
    row, wide, cut = element * here, element * here * channels, element * batch * tokens * channels // tp
    if known(recompute) == "full":
        return (Term("", "input of the block", wide),)
    masks = [Term("dropout", f"mask behind {behind}", wide) for behind in ("attention", "MLP") if dropout]
    attended = () if recompute == "selective" else _attention(batch, tokens, channels, heads, tp, element, dropout)
    return (
        *_norm("norm1", row, wide),
        Term("attention" if recompute == "selective" else "attention.query", "input of query, key and value", wide),
        *attended,
        *masks[:1],
        *_norm("norm2", row, wide),
        Term("mlp.up", "input", wide),
        Term("mlp", "input of GELU", 4 * cut),
        Term("mlp.down", "input", 4 * cut),
        *masks[1:],
    )


def _norm(module: str, row: int, wide: int) -> Iterator[Term]:
    yield Term(module, "input", wide)
    yield Term(module, "mean", row)
    yield Term(module, "1 / standard deviation", row)


def _attention(
    batch: int, tokens: int, channels: int, heads: int, tp: int, element: int, dropout: bool
) -> Iterator[Term]:
    """Yield what the heads of one rank keep. Unfused, one process computes in 4 bytes at least, as torch does it."""
    wide, square = batch * tokens * channels // tp, batch * heads * tokens**2 // tp
    if not dropout:
        yield from (Term("attention", name, element * wide) for name in ("query", "key", "value"))
        yield Term("attention", "logarithm of each row's sum", max(element, 4) * batch * heads * tokens // tp)
        yield Term("attention", "output, the input of out", element * wide)
        return
    computed = element if tp > 1 else max(element, 4)
    yield from (Term("attention", name, computed * wide) for name in ("query", "key"))
    yield from (Term("attention", "which keys are later", tokens**2) for _ in range(tp > 1))
    yield from (Term("attention", name, computed * square) for name in ("softmax", "mask of dropout"))
    yield Term("attention", "value", computed * wide)
    yield Term("attention", "softmax after dropout", computed * square)
    yield Term("attention.out", "input", element * wide)


def gpt_ends(
    batch: int,
    tokens: int,
    channels: int,
    vocabulary: int,
    *,
    tp: int = 1,
    sequence: bool = False,
    element: int = 4,
    dropout: bool = False,
    targets_here: int = 0,
) -> tuple[Term, ...]:
    """Return the terms before and behind the blocks, the loss included, which is "" as the model's own forward.

    targets_here  with tp > 1: how many targets are tokens of this rank's part of the vocabulary

    ValueError when tp does not divide the vocabulary: the ranks then keep different amounts.
    """
    ids, here = batch * tokens, batch * divided(tokens, tp if sequence else 1, "tokens")
    row, wide, computed = element * here, element * here * channels, max(element, 4)
    columns = divided(vocabulary, tp, "vocabulary")
    split = tp > 1
    return (
        Term("tokens", "ids" if not split else "ids, from this rank's first token on", _INTEGER * ids),
        *(Term("tokens", "which ids are other ranks'", ids) for _ in range(split)),
        Term("positions", "numbers of the positions", _INTEGER * tokens),
        *(Term("dropout", "mask", wide) for _ in range(dropout)),
        *_norm("norm", row, wide),
        Term("head", "input", wide),
        Term("", "probabilities" if split else "logarithms of the probabilities", computed * ids * columns),
        *(_targets_of_a_part(ids, targets_here) if split else (Term("", "targets", _INTEGER * ids),)),
        Term("", "number of targets", _INTEGER if split else computed),
    )


def _targets_of_a_part(targets: int, here: int) -> Iterator[Term]:
    yield Term("", "which targets count", targets)
    yield Term("", "rows whose target is here", _INTEGER * here)
    yield Term("", "targets that are here", _INTEGER * here)


def paper_to_gpt(
    batch: int, tokens: int, channels: int, heads: int, *, tp: int = 1, sequence: bool = False, element: int = 4
) -> tuple[Term, ...]:
    """Return what leads from the paper's bytes of a layer to those of the lab's block without dropout: their sum."""
    wide, square = batch * tokens * channels, batch * heads * tokens**2 // tp
    here = batch * tokens // tp if sequence else batch * tokens  # tokens between the split layers
    kept = 4 * here * channels + 12 * wide // tp  # elements of both
    logarithms = batch * heads * tokens // tp
    paper = sum(term.bytes for term in paper_layer(batch, tokens, channels, heads, tp=tp, sequence=sequence))
    wider = (element - 2) * (kept + 4 * here) + (max(element, 4) - 4) * logarithms
    return (
        Term("", "the paper's layer", paper),
        Term("", "without dropout: its three masks", -(2 * here * channels + square)),
        Term("", "fused attention: softmax, before and after dropout", -4 * square),
        Term("", "fused attention: the logarithm of each row's sum", 4 * logarithms),
        Term("", "mean and 1 / standard deviation of both norms", 8 * here),
        Term("", f"elements of {element} bytes, not 2", wider),
    )
