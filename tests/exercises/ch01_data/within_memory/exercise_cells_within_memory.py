"""What a reader may write for ZeRO-3 within a memory limit: right versions, and one that is wrong in each way."""

from __future__ import annotations

from functools import partial

import exercise_runs

from lab_utils.exercises.ch01_data.within_memory import SOLUTION as SHOWN
from lab_utils.render import source

IMPORTS = "import torch\nimport torch.distributed as dist\n"
SOLUTION = source(SHOWN).text
changed = partial(exercise_runs.changed, SOLUTION)

FORWARD = "        x = layer(whole(piece), x)\n"
SCATTER = "        dist.reduce_scatter_single(piece.grad, gradient, dist.ReduceOp.AVG)\n"
GATHER = "    dist.all_gather_single(weight, piece.detach())\n"
OWN_ROWS = "        piece.grad.copy_(gradient.chunk(dist.get_world_size())[dist.get_rank()])\n"
FREE = "        del weight, gradient\n"
BEGIN = "    inputs = []\n"
LIST = """    parts = [torch.empty_like(piece) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, piece.detach())
"""
# The forward's graph is kept, and the storages under it are freed and filled again, as FSDP does it.
RESIZED = """
def my_zero3(pieces, x, y):
    wholes, ends = [], []
    for piece in pieces:
        wholes.append(whole(piece).requires_grad_())
        x = layer(wholes[-1], x)
        wholes[-1].untyped_storage().resize_(0)
        ends.append(x)
    loss = ((x - y) ** 2).mean()
    upstream = torch.autograd.grad(loss, x, retain_graph=True)[0]
    for i in reversed(range(len(pieces))):
        wholes[i].untyped_storage().resize_(8 * wholes[i].numel())
        with torch.no_grad():
            dist.all_gather_single(wholes[i].detach(), pieces[i].detach())
        of = (wholes[i], ends[i - 1]) if i else (wholes[i],)
        gradient, *rest = torch.autograd.grad(ends[i], of, upstream, retain_graph=True)
        dist.reduce_scatter_single(pieces[i].grad, gradient, dist.ReduceOp.AVG)
        wholes[i].untyped_storage().resize_(0)
        upstream = rest[0] if rest else None
        del gradient
    return loss.item()
"""
STUB = "def my_zero3(pieces, x, y):\n    raise NotImplementedError\n"
RIGHT = {
    "solution": SOLUTION,
    "by_list": changed(
        ("    weight = piece.new_empty(dist.get_world_size() * len(piece), piece.shape[1])\n", ""),
        (GATHER, LIST),
        ("    return weight\n", "    return torch.cat(parts)\n"),
    ),
    "asynchronous": changed((GATHER, GATHER.replace("detach())", "detach(), async_op=True).wait()"))),
    "own_gradients": changed(
        (SCATTER, "        piece.grad = torch.empty_like(piece)\n" + SCATTER),
    ),
    "resized": SOLUTION + RESIZED,
}
KEEP = "        kept.append(whole(piece))\n        x = layer(kept[-1], x)\n"
WRONG = {
    "never_frees": changed((BEGIN, BEGIN + "    kept = []\n"), (FORWARD, KEEP)),
    "frees_a_view": changed(
        (BEGIN, BEGIN + "    kept = []\n"),
        (
            FORWARD,
            "        weight = whole(piece)\n        kept.append(weight.T)\n        x = layer(weight, x)\n"
            "        del weight\n",
        ),
    ),
    "gathers_all_first": changed((BEGIN, BEGIN + "    wholes = [whole(piece) for piece in pieces]\n")),
    "graph_of_all": changed((FORWARD, FORWARD.replace("whole(piece)", "whole(piece).requires_grad_()"))),
    "no_del": changed((FREE, "")),
    "on_one_rank": changed((FREE, "        if dist.get_rank() != 2:\n            del weight, gradient\n")),
    "wrong_order": changed(
        ("    return weight\n", "    return weight.unflatten(0, (dist.get_world_size(), -1)).flip(0).flatten(0, 1)\n")
    ),
    "own_rows_only": changed((GATHER, "    weight.copy_(piece.detach().repeat(dist.get_world_size(), 1))\n")),
    "frees_before_use": changed(
        (
            FORWARD,
            "        weight = whole(piece)\n        weight.untyped_storage().resize_(0)\n"
            "        x = layer(weight, x)\n",
        ),
    ),
    "no_gather": changed((GATHER, "")),
    "no_scatter": changed((SCATTER, "")),
    "own_shard": changed((SCATTER, OWN_ROWS)),
    "summed": changed((SCATTER, SCATTER.replace(", dist.ReduceOp.AVG", ""))),
    "next_rows": changed(
        (
            SCATTER,
            "        first, *rest = gradient.chunk(dist.get_world_size())\n"
            "        dist.reduce_scatter(piece.grad, [*rest, first], dist.ReduceOp.AVG)\n"
            "        del first, rest\n",
        ),
    ),
    "no_tanh_back": changed(
        ("torch.autograd.grad(layer(weight, x), (", "torch.autograd.grad(torch.nn.functional.linear(x, weight), ("),
    ),
    "updates": changed((SCATTER, SCATTER + "        piece.data.sub_(piece.grad)\n")),
    "keeps_whole_gradients": changed(
        (
            SCATTER,
            "        dist.all_reduce(gradient, dist.ReduceOp.AVG)\n"
            "        piece.grad = gradient.chunk(dist.get_world_size())[dist.get_rank()]\n",
        )
    ),
    "left_whole": changed((FREE, "        my_zero3.kept = weight if piece is pieces[0] else None\n" + FREE)),
    "no_loss": changed(("    return loss.detach()", "")),
}
