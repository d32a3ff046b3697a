"""What a reader may have in the cells of exercises 01.7 to 01.9: stubs, planted bugs, mended and wrong versions."""

from __future__ import annotations

IMPORTS = """\
from contextlib import nullcontext

import numpy as np
import torch
import torch.distributed as dist

from lab_utils.strategies.data import Buckets, accumulate, aggregate

rank, size = dist.get_rank(), dist.get_world_size()
"""

ACCUMULATE_PLANTED = """
def my_accumulate(model, parts):
    for x, y in parts:
        _, loss = model(x, y)
        loss.backward()
    aggregate(model)
"""
ACCUMULATE_MENDED = ACCUMULATE_PLANTED.replace("loss.backward()", "(loss / len(parts)).backward()")
ACCUMULATE = {
    "stub": "def my_accumulate(model, parts):\n    raise NotImplementedError\n",
    "dots": "def my_accumulate(model, parts):\n    ...\n",
    "planted": ACCUMULATE_PLANTED,
    "mended": ACCUMULATE_MENDED,
    "divided_after": ACCUMULATE_PLANTED + "    for p in model.parameters():\n        p.grad /= len(parts)\n",
    "the_lab_s": """
def my_accumulate(model, parts):
    buckets = Buckets(model)
    accumulate(model, parts, no_sync=buckets.no_sync)
""",
    "sum_over_ranks": ACCUMULATE_MENDED.replace(
        "aggregate(model)", "for p in model.parameters():\n        dist.all_reduce(p.grad)"
    ),
    "two_sums": ACCUMULATE_PLANTED.replace(
        "aggregate(model)", "for p in model.parameters():\n        dist.all_reduce(p.grad)"
    ),
    "divided_twice": ACCUMULATE_MENDED + "    for p in model.parameters():\n        p.grad /= len(parts)\n",
    "ranks_twice": ACCUMULATE_MENDED + "    for p in model.parameters():\n        p.grad /= size\n",
    "by_five": ACCUMULATE_MENDED.replace("len(parts)", "5"),
    "last_only": ACCUMULATE_MENDED.replace("    for", "    for", 1).replace(
        "        _, loss", "        model.zero_grad()\n        _, loss"
    ),
    "first_left_out": ACCUMULATE_MENDED.replace("in parts:", "in parts[rank % 2 :]:"),
    "alone": ACCUMULATE_MENDED.replace("    aggregate(model)\n", ""),
    "every_time": ACCUMULATE_MENDED.replace("    aggregate", "        aggregate"),
    "no_gradient": ACCUMULATE_MENDED + "    model.zero_grad()\n",
    "too_few": ACCUMULATE_MENDED.replace("model, parts", "model"),
}

ORDER_PLANTED = """
def my_order(blocks, epoch):
    shuffle = torch.Generator().manual_seed(1000 * epoch + rank)
    order = torch.randperm(blocks, generator=shuffle)
    return order[rank::size]
"""
ORDER_MENDED = ORDER_PLANTED.replace("1000 * epoch + rank", "epoch")
ORDER = {
    "stub": "def my_order(blocks, epoch):\n    raise NotImplementedError\n",
    "dots": "def my_order(blocks, epoch):\n    return ...\n",
    "planted": ORDER_PLANTED,
    "mended": ORDER_MENDED,
    "a_list": ORDER_MENDED.replace("order[rank::size]", "order[rank::size].tolist()"),
    "numpy": """
def my_order(blocks, epoch):
    order = np.random.default_rng(epoch).permutation(blocks)
    return np.array_split(order, size)[rank]
""",
    "seeds_torch": """
def my_order(blocks, epoch):
    torch.manual_seed(epoch)
    return torch.randperm(blocks).chunk(size)[rank]
""",
    "not_cut": ORDER_MENDED.replace("order[rank::size]", "order"),
    "all_the_same": ORDER_MENDED.replace("order[rank::size]", "order[: blocks // size]"),
    "short": ORDER_MENDED.replace("order[rank::size]", "order[rank::size][:-1]"),
    "uneven": ORDER_MENDED.replace(
        "order[rank::size]", "order[[0, 4, 16, 28, 40][rank] : [0, 4, 16, 28, 40][rank + 1]]"
    ),
    "same_epochs": ORDER_MENDED.replace("manual_seed(epoch)", "manual_seed(0)"),
    "unseeded": """
torch.manual_seed(3)

def my_order(blocks, epoch):
    return torch.randperm(blocks)[rank::size]
""",
    "from_one": ORDER_MENDED.replace("order[rank::size]", "order[rank::size] + 1"),
    "twice": ORDER_MENDED.replace("order[rank::size]", "torch.cat([order[rank::size], order[rank : rank + 1]])"),
    "nothing": ORDER_MENDED.replace("return", "order ="),
    "fractions": ORDER_MENDED.replace("order[rank::size]", "order[rank::size] / 2"),
}

GRADIENTS_PLANTED = """
def my_gradients(model, x, y):
    model(x, y)[1].backward()
    aggregate(model)
"""
GRADIENTS_MENDED = """
def my_gradients(model, x, y):
    blocks = torch.tensor(len(x))
    dist.all_reduce(blocks)
    (model(x, y)[1] * size * len(x) / blocks).backward()
    aggregate(model)
"""
GRADIENTS = {
    "stub": "def my_gradients(model, x, y):\n    raise NotImplementedError\n",
    "pass": "def my_gradients(model, x, y):\n    pass\n",
    "planted": GRADIENTS_PLANTED,
    "mended": GRADIENTS_MENDED,
    "the_lab_s": "def my_gradients(model, x, y):\n    accumulate(model, [(x, y)])\n    aggregate(model)\n",
    "sums": """
def my_gradients(model, x, y):
    (model(x, y)[1] * len(x)).backward()
    for p in model.parameters():
        dist.all_reduce(p.grad)
        p.grad /= 16
""",
    "without_n": GRADIENTS_MENDED.replace("* size *", "*"),
    "not_divided": GRADIENTS_MENDED.replace("* size * len(x) / blocks", "* len(x)"),
    "sum_of_means": """
def my_gradients(model, x, y):
    model(x, y)[1].backward()
    for p in model.parameters():
        dist.all_reduce(p.grad)
""",
    "even": GRADIENTS_MENDED.replace("dist.all_reduce(blocks)", "blocks *= size"),
    "alone": GRADIENTS_MENDED.replace("    aggregate(model)\n", ""),
    "one_tensor": GRADIENTS_MENDED + "    model.norm.weight.grad *= 3\n",
    "no_gradient": GRADIENTS_MENDED + "    model.zero_grad()\n",
}
