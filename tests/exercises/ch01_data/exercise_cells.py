"""What a reader may have in the cells of the code exercises: stubs, planted bugs, mended and wrong versions."""

from __future__ import annotations

IMPORTS = "import torch\nimport torch.distributed as dist\nfrom lab_utils.corpus import Batches, Blocks\n"

MY_ALL_GATHER = {
    "stub": """
def my_all_gather(x):
    raise NotImplementedError
""",
    "dots": """
def my_all_gather(x):
    ...
    return ...
""",
    "right": """
def my_all_gather(x):
    rank, n = dist.get_rank(), dist.get_world_size()
    others = [r for r in range(n) if r != rank]
    sending = [dist.isend(x, r) for r in others]
    out = [torch.empty_like(x) for _ in range(n)]
    out[rank].copy_(x)
    for r in others:
        dist.recv(out[r], r)
    for work in sending:
        work.wait()
    return torch.stack(out)
""",
    "collective": """
def my_all_gather(x):
    out = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(out, x)
    return out
""",
    "reversed": """
def my_all_gather(x):
    out = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(out, x)
    return out[::-1]
""",
    "short": """
def my_all_gather(x):
    return [x]
""",
    "documented": """
def my_all_gather(x):
    "Every rank's x, stacked."
    ...
""",
    "nothing": """
def my_all_gather(x):
    x = None
""",
    "flat": """
def my_all_gather(x):
    return x.flatten()
""",
    "changes_x": """
def my_all_gather(x):
    out = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(out, x)
    x.zero_()
    return out
""",
    "raises": """
def my_all_gather(x):
    if dist.get_rank() == 2:
        raise ValueError("no more")
    return [x] * dist.get_world_size()
""",
    "two_arguments": """
def my_all_gather(x, y):
    return x
""",
    "hangs": """
def my_all_gather(x):
    dist.recv(torch.empty_like(x), (dist.get_rank() + 1) % dist.get_world_size())
""",
}

RING_PLANTED = """
def ring_all_gather(x):
    rank, n = dist.get_rank(), dist.get_world_size()
    out = torch.empty(n, *x.shape, dtype=x.dtype)
    out[rank] = x
    for step in range(n - 1):
        sending = dist.isend(out[rank], (rank + 1) % n)
        dist.recv(out[(rank - step - 1) % n], (rank - 1) % n)
        sending.wait()
    return out
"""
RING_MENDED = RING_PLANTED.replace("out[rank], (rank + 1)", "out[(rank - step) % n], (rank + 1)")

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

SWAP = {
    "planted": """
def swap(x):
    partner, theirs = dist.get_rank() ^ 1, torch.empty_like(x)
    dist.recv(theirs, partner)
    dist.send(x, partner)
    return theirs
""",
    "isend": """
def swap(x):
    partner, theirs = dist.get_rank() ^ 1, torch.empty_like(x)
    sending = dist.isend(x, partner)
    dist.recv(theirs, partner)
    sending.wait()
    return theirs
""",
    "in_turn": """
def swap(x):
    partner, theirs = dist.get_rank() ^ 1, torch.empty_like(x)
    if dist.get_rank() < partner:
        dist.send(x, partner)
        dist.recv(theirs, partner)
    else:
        dist.recv(theirs, partner)
        dist.send(x, partner)
    return theirs
""",
    "itself": """
def swap(x):
    return x
""",
    "nothing": """
def swap(x):
    x = x + 1
""",
}

TOTAL = {
    "planted": """
def total(batches):
    result = torch.zeros(())
    for batch in batches:
        part = batch.sum()
        dist.all_reduce(part)
        result += part
    return result
""",
    "mended": """
def total(batches):
    result = torch.stack([batch.sum() for batch in batches]).sum()
    dist.all_reduce(result)
    return result
""",
    "own": """
def total(batches):
    return sum(batch.sum() for batch in batches)
""",
}
