"""What a reader may have in the cell of exercise 01.17: stubs, right and wrong versions."""

from __future__ import annotations

IMPORTS = """\
import torch
import torch.distributed as dist
from torch import nn

from lab_utils.strategies.data import aggregate

rank, size = dist.get_rank(), dist.get_world_size()
"""

SUMS = """
def my_token_gradients(model, x, y):
    tokens = (y != -100).sum()
    dist.all_reduce(tokens)
    logits, _ = model(x, y)
    summed = nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum")
    (summed * size / tokens).backward()
    aggregate(model)
"""
MEANS = """
def my_token_gradients(model, x, y):
    own = (y != -100).sum()
    tokens = own.clone()
    dist.all_reduce(tokens)
    loss = model(x, y)[1] * size * own / tokens
    loss.backward()
    aggregate(model)
"""
TOKENS = {
    "stub": "def my_token_gradients(model, x, y):\n    raise NotImplementedError\n",
    "pass": "def my_token_gradients(model, x, y):\n    pass\n",
    "sums": SUMS,
    "one_by_one": SUMS.replace("* size / tokens", "/ tokens").replace(
        "    aggregate(model)\n", "    for p in model.parameters():\n        dist.all_reduce(p.grad)\n"
    ),
    "guarded": MEANS.replace(
        "    loss.backward()",
        "    if not own:\n        loss = 0 * sum(p.sum() for p in model.parameters())\n    loss.backward()",
    ),
    "means": MEANS,
    "mean_of_means": "def my_token_gradients(model, x, y):\n    model(x, y)[1].backward()\n    aggregate(model)\n",
    "sum_of_means": """
def my_token_gradients(model, x, y):
    model(x, y)[1].backward()
    for p in model.parameters():
        dist.all_reduce(p.grad)
""",
    "by_blocks": MEANS.replace("(y != -100).sum()", "torch.tensor(len(y))"),
    "by_positions": MEANS.replace("(y != -100).sum()", "torch.tensor(y.numel())"),
    "with_padding": SUMS.replace("(y != -100).sum()", "torch.tensor(y.numel())"),
    "without_n": SUMS.replace("* size / tokens", "/ tokens"),
    "n_twice": SUMS.replace(
        "    aggregate(model)\n", "    for p in model.parameters():\n        dist.all_reduce(p.grad)\n"
    ),
    "alone": SUMS.replace("    aggregate(model)\n", ""),
    "one_tensor": SUMS + "    model.norm.weight.grad *= 3\n",
    "no_gradient": SUMS + "    model.zero_grad()\n",
    "leaves": MEANS.replace("    loss = ", "    if not own:\n        return\n    loss = "),
    "zero_left_out": MEANS.replace("    loss.backward()", "    if own:\n        loss.backward()").replace(
        "    aggregate(model)\n",
        "    for p in model.parameters():\n"
        "        p.grad = torch.ones_like(p) if p.grad is None else p.grad\n"
        "    aggregate(model)\n",
    ),
}
