"""Models whose kept activations are counted, here and on ranks; each count ends with a backward that leaves nothing."""

from __future__ import annotations

B, T, C, H, V, LAYERS = 3, 8, 16, 4, 48, 2


def kept_by_papers_layer(again: str, split=None, parts: int = 1):
    """Rows that the paper's layer keeps. `split` splits it, `parts` is how many ranks share the tokens."""
    import torch

    from lab_utils.strategies.mixed_precision import recompute
    from lab_utils.strategies.model.activations import PaperLayer, kept_by

    layer = PaperLayer(C, H).bfloat16()
    if split is not None:
        split(layer)
    recompute({"none": [], "selective": [layer.attention.core], "full": [layer]}[again])
    with kept_by(layer) as kept:
        out = layer(torch.randn(B, T // parts, C, dtype=torch.bfloat16, requires_grad=True))
    rows = kept.rows
    out.float().sum().backward()
    assert kept.rows == ()
    return rows


def gpt(again: str, dtype: str, dropout: float, split=None):
    import torch

    from lab_utils.gpt import GPT, GPTConfig
    from lab_utils.strategies.mixed_precision import recompute

    torch.manual_seed(0)
    sizes = {"vocabulary": V, "block": T, "layers": LAYERS, "channels": C, "heads": H}
    model = GPT(GPTConfig(**sizes, dropout=dropout)).to(getattr(torch, dtype))
    if split is not None:
        split(model)
    recompute({"none": [], "selective": [b.attention for b in model.blocks], "full": model.blocks}[again])
    return model


def kept_by_gpt(again: str, dtype: str, dropout: float, split=None):
    """Rows that the lab's GPT keeps, and the targets of its batch."""
    import torch

    from lab_utils.strategies.model.activations import kept_by

    model = gpt(again, dtype, dropout, split)
    x, y = (each.clone() for each in torch.randint(V, (2, B, T)))
    with kept_by(model) as kept:
        _, loss = model(x, y)
    rows = kept.rows
    loss.backward()
    assert kept.bytes == 0
    return rows, y


def kept_when_split(tp: int, sequence: bool, cases) -> list:
    """Of each case what both models keep on this rank, and how many targets are of its part of the vocabulary."""
    from functools import partial

    from lab_utils.strategies.mesh import Mesh
    from lab_utils.strategies.model.activations import PAPER_PLAN
    from lab_utils.strategies.model.tensor_parallel import split
    from lab_utils.strategies.model.tensor_parallel.plans import GPT

    mesh, found = Mesh(dp=4 // tp, tp=tp), []
    first, width = mesh.mine["tp"] * V // tp, V // tp
    for again, dtype, dropout in cases:
        cut = partial(split, plan=PAPER_PLAN, mesh=mesh, sequence=sequence)
        of_paper = kept_by_papers_layer(again, cut, tp if sequence else 1)
        of_gpt, y = kept_by_gpt(again, dtype, dropout, partial(split, plan=GPT, mesh=mesh, sequence=sequence))
        found.append((of_paper, of_gpt, int(((first <= y) & (y < first + width)).sum())))
    return found
