"""What a reader may have in the cells of exercises 01.3 to 01.5: stubs, planted bugs, mended and wrong versions."""

from __future__ import annotations

IMPORTS = "import torch\nimport torch.distributed as dist\nfrom lab_utils.corpus import Batches, Blocks\n"

STEP_PLANTED = """
def step(model, optimizer, x, y):
    optimizer.zero_grad()
    _, loss = model(x, y)
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
    optimizer.step()
    return loss.detach()
"""
STEP = {
    "stub": "def step(model, optimizer, x, y):\n    raise NotImplementedError\n",
    "planted": STEP_PLANTED,
    "mended": STEP_PLANTED.replace("parameter.grad)", "parameter.grad, dist.ReduceOp.AVG)"),
    "divided": STEP_PLANTED.replace("all_reduce(parameter.grad)", "all_reduce(parameter.grad.div_(4))"),
    "twice_divided": STEP_PLANTED.replace("parameter.grad)", "parameter.grad.div_(4), dist.ReduceOp.AVG)"),
    "alone": STEP_PLANTED.replace("dist.all_reduce(parameter.grad)", "parameter.grad"),
    "late": STEP_PLANTED.replace("parameter.grad)", "parameter.grad, dist.ReduceOp.AVG)")
    .replace("    optimizer.step()\n", "")
    .replace("    for parameter", "    optimizer.step()\n    for parameter"),
    "piles_up": STEP_PLANTED.replace("parameter.grad)", "parameter.grad, dist.ReduceOp.AVG)").replace(
        "    optimizer.zero_grad()\n", ""
    ),
    "one_tensor": STEP_PLANTED.replace("parameter.grad)", "parameter.grad, dist.ReduceOp.AVG)").replace(
        "    optimizer.step()", "    model.norm.weight.grad *= 3\n    optimizer.step()"
    ),
    "no_loss": STEP_PLANTED.replace("return loss.detach()", "return None"),
    "wrong_loss": STEP_PLANTED.replace("parameter.grad)", "parameter.grad, dist.ReduceOp.AVG)").replace(
        "return loss.detach()", "return loss.detach() * 4"
    ),
    "zeroed_after": STEP_PLANTED.replace("parameter.grad)", "parameter.grad, dist.ReduceOp.AVG)").replace(
        "    return", "    optimizer.zero_grad()\n    return"
    ),
}

REPLICATE_PLANTED = """
def replicate(model):
    torch.manual_seed(dist.get_rank())
    model.reset_parameters()
"""
REPLICATE = {
    "stub": "def replicate(model):\n    raise NotImplementedError\n",
    "dots": "def replicate(model):\n    return ...\n",
    "planted": REPLICATE_PLANTED,
    "mended": """
def replicate(model):
    for tensor in [*model.parameters(), *model.buffers()]:
        dist.broadcast(tensor.detach(), src=0)
""",
    "common_seed": REPLICATE_PLANTED.replace("dist.get_rank()", "1234"),
    "pass": "def replicate(model):\n    pass\n",
    "nothing": "def replicate(model):\n    model.train()\n",
    "one_tensor": "def replicate(model):\n    dist.broadcast(model.tokens.weight.detach(), src=0)\n",
}

SHARD_PLANTED = """
def my_shard(blocks, step):
    batches = Batches(len(blocks), batch=16)
    numbers = batches.part(step, rank=0, ranks=dist.get_world_size())
    return blocks[numbers]
"""
SHARD = {
    "stub": "def my_shard(blocks, step):\n    raise NotImplementedError\n",
    "dots": "def my_shard(blocks, step):\n    return ...\n",
    "planted": SHARD_PLANTED,
    "mended": SHARD_PLANTED.replace("rank=0", "rank=dist.get_rank()"),
    "by_hand": SHARD_PLANTED.replace(
        "batches.part(step, rank=0, ranks=dist.get_world_size())", "batches[step][dist.get_rank() :: 4]"
    ),
    "whole": SHARD_PLANTED.replace("batches.part(step, rank=0, ranks=dist.get_world_size())", "batches[step]"),
    "overlap": SHARD_PLANTED.replace("rank=0", "rank=dist.get_rank() // 2"),
    "other_batch": SHARD_PLANTED.replace("part(step, rank=0", "part(step + 1, rank=dist.get_rank()"),
    "half": SHARD_PLANTED.replace("rank=0", "rank=dist.get_rank()").replace("blocks[numbers]", "blocks[numbers[:2]]"),
    "uneven": SHARD_PLANTED.replace("batches.part(step, rank=0, ranks=dist.get_world_size())", "batches[step]").replace(
        "blocks[numbers]", "blocks[numbers[[0, 1, 4, 8, 16][dist.get_rank()] : [0, 1, 4, 8, 16][dist.get_rank() + 1]]]"
    ),
    "empty": SHARD_PLANTED.replace("return blocks[numbers]", "return blocks[numbers[:0]]"),
    "numbers": SHARD_PLANTED.replace("return blocks[numbers]", "return numbers"),
    "strange": SHARD_PLANTED.replace("blocks[numbers]", "Blocks(0 * blocks[numbers].x, blocks[numbers].y)"),
}

SEEDED = """
torch.manual_seed(7)
first = torch.rand(1)
torch.manual_seed(7)

def goes_on_as_if_nothing_had_been():
    return (torch.rand(1) == first).item()
"""
