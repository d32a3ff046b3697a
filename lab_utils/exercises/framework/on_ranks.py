"""The part of the code checks that runs on the ranks: call the reader's function and return what it did.

Also imported by the notebook's kernel (to be sent by name), so torch is imported inside functions only.
"""

from __future__ import annotations

import dis
from collections.abc import Callable, Sequence
from typing import Any, Literal

BATCH = 16  # blocks per step over all ranks, as in the chapter
BLOCKS, VOCABULARY, BLOCK = 40, 23, 8  # of the checks' small text and small GPT
LEARNING_RATE = 0.5


def state_of(function: Callable | str) -> Literal["missing", "empty", "there"]:
    """Whether the function is defined on this rank (by a %%ranks cell), and whether its body does anything."""
    from lab_utils.ranks.shipping.picklers import rank_namespace

    found = rank_namespace().get(function) if isinstance(function, str) else function
    if not callable(found):
        return "missing"
    return "empty" if hasattr(found, "__code__") and _does_nothing(found) else "there"


def _does_nothing(function: Callable) -> bool:
    """Whether the body is `...`, `pass`, `return ...` or a docstring: it only loads constants, None or `...` last."""
    steps = [step for step in dis.get_instructions(function) if step.opname not in ("RESUME", "NOP")]
    loaded = [step.argval for step in steps if step.opname in ("LOAD_CONST", "RETURN_CONST")]
    only_returns = all(step.opname in ("LOAD_CONST", "RETURN_CONST", "RETURN_VALUE") for step in steps)
    return only_returns and loaded[-1:] in ([None], [...])


def find(function: Callable | str) -> Callable:
    from lab_utils.ranks.shipping.picklers import rank_namespace

    return rank_namespace()[function] if isinstance(function, str) else function


def gathered(function: Callable | str, shapes: Sequence[tuple[int, ...]]) -> list[tuple[Any, Any, Any]]:
    """Return (input, input after the call, result) for an input of each shape; no two ranks share a number."""
    import torch
    import torch.distributed as dist

    called = []
    for shape in shapes:
        given = torch.arange(1, 1 + torch.Size(shape).numel()).reshape(shape).double() + 100 * dist.get_rank()
        x = given.clone()
        called.append((given, x, find(function)(x)))
    return called


def trained(function: Callable | str, steps: int) -> dict[str, list[Any]]:
    """Train the small GPT with the reader's `step` on this rank's shard, and with serial's on the whole batch.

    "step" and "serial" have one snapshot per step; "returned": results of the reader's step, tensors as numbers;
    "shard": the gradients of this shard alone in the first step, as backward leaves them.
    """
    import torch

    from lab_utils.strategies import serial

    step = find(function)
    model, reference, alone = (_small_gpt(seed=0) for _ in range(3))
    optimizer, reference_optimizer = _optimizer(model), _optimizer(reference)
    found: dict[str, list[Any]] = {"step": [], "serial": [], "returned": [], "shard": []}
    for number in range(steps):
        whole, mine = _batch(number)
        returned = step(model, optimizer, *mine)
        found["returned"].append(returned.item() if isinstance(returned, torch.Tensor) else returned)
        found["step"].append(serial.snapshot(model, torch.tensor(0.0)))
        found["serial"].append(serial.snapshot(reference, serial.step(reference, reference_optimizer, *whole)))
    _, mine = _batch(0)
    alone(*mine)[1].backward()
    found["shard"].append(serial.snapshot(alone, torch.tensor(0.0))["gradients"])
    return found


def replicated(function: Callable | str) -> dict[str, Any]:
    """Call the reader's `replicate` on replicas from different seeds, then run one correct step on each shard.

    "before" and "replica": the parameters before and after replicate; "step": snapshot after the step; "serial": the
    same for one step of this rank's replica on the whole batch.
    """
    import copy

    import torch.distributed as dist

    from lab_utils.strategies import data, serial

    model = _small_gpt(seed=100 + dist.get_rank())
    before = _parameters(model)
    find(function)(model)
    replica, reference = _parameters(model), copy.deepcopy(model)
    whole, mine = _batch(0)
    expected = serial.snapshot(reference, serial.step(reference, _optimizer(reference), *whole))
    after = serial.snapshot(model, data.step(model, _optimizer(model), *mine))
    return {"before": before, "replica": replica, "step": after, "serial": expected}


def sharded(function: Callable | str, steps: int) -> dict[str, Any]:
    """Return which blocks the reader's `my_shard` assigns to this rank.

    "strange": type name of a result that is not Blocks; "numbers": per step, the numbers of its blocks, -1 for rows
    that are no block.
    """
    blocks = _small_text()
    shards = [find(function)(blocks, step) for step in range(steps)]
    strange = [shard for shard in shards if not (hasattr(shard, "x") and hasattr(shard, "y"))]
    if strange:
        return {"strange": type(strange[0]).__name__, "numbers": []}
    return {"strange": None, "numbers": [[_number(blocks, row) for row in shard.x] for shard in shards]}


def trained_on_shard(function: Callable | str) -> dict[str, Any]:
    """Run one correct step on the reader's shard of step 0 ("step"), and serial's on the whole batch ("serial")."""
    from lab_utils.corpus import Batches
    from lab_utils.strategies import data, serial

    blocks = _small_text()
    whole, mine = _tensors(blocks[Batches(BLOCKS, BATCH)[0]]), _tensors(find(function)(blocks, 0))
    model, reference = _small_gpt(seed=0), _small_gpt(seed=0)
    expected = serial.snapshot(reference, serial.step(reference, _optimizer(reference), *whole))
    after = serial.snapshot(model, data.step(model, _optimizer(model), *mine))
    return {"step": after, "serial": expected}


def swapped(function: Callable | str) -> tuple[int, Any, Any]:
    """Return (partner, partner's tensor, result of the reader's `swap`); partners are 0 and 1, 2 and 3, ..."""
    import torch
    import torch.distributed as dist

    def own(rank: int) -> torch.Tensor:
        return torch.arange(3) + 10 * rank

    rank = dist.get_rank()
    return rank ^ 1, own(rank ^ 1), find(function)(own(rank))


def totalled(function: Callable | str) -> tuple[float, float | None]:
    """Return (the sum, result of the reader's `total`) for batches of which the last rank has one fewer."""
    import torch
    import torch.distributed as dist

    def batches(rank: int) -> list[torch.Tensor]:
        return [torch.full((2,), 10.0 * rank + i) for i in range(3 - (rank == dist.get_world_size() - 1))]

    wanted = sum(batch.sum().item() for rank in range(dist.get_world_size()) for batch in batches(rank))
    got = find(function)(batches(dist.get_rank()))
    return wanted, None if got is None else float(got)


def _small_gpt(seed: int):
    import torch

    from lab_utils.gpt import GPT, GPTConfig

    with torch.random.fork_rng(devices=[]):  # leave the reader's random state unchanged
        torch.manual_seed(seed)
        return GPT(GPTConfig(vocabulary=VOCABULARY, block=BLOCK, layers=1, channels=12, heads=3)).double()


def _optimizer(model):
    """Plain SGD: unlike Adam's, its update shows a wrong factor on the gradient."""
    import torch

    return torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)


def _small_text():
    """Blocks of pseudo-random tokens, no two alike."""
    from lab_utils.corpus import cut
    from lab_utils.corpus.hashing import stable_hash

    return cut((stable_hash(BLOCKS * BLOCK + 1) % VOCABULARY).astype("int64"), BLOCK)


def _batch(step: int):
    """((x, y) of a step's whole batch, (x, y) of this rank's part of it)."""
    import torch.distributed as dist

    from lab_utils.corpus import Batches

    blocks, batches = _small_text(), Batches(BLOCKS, BATCH)
    part = batches.part(step, dist.get_rank(), dist.get_world_size())
    return _tensors(blocks[batches[step]]), _tensors(blocks[part])


def _tensors(blocks):
    import torch

    return torch.from_numpy(blocks.x.copy()), torch.from_numpy(blocks.y.copy())


def _parameters(model) -> dict[str, Any]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def _number(blocks, row) -> int:
    """The number of the block with this row of tokens; -1 if none."""
    import numpy as np

    same = np.flatnonzero((blocks.x == np.asarray(row)).all(axis=1))
    return int(same[0]) if len(same) else -1
