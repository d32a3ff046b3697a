"""A step of the lab's tensor parallelism against DTensor's on the same ranks, with sequence parallelism and without.

With it the lab sends up to 5/4 as much (tensor_parallel/wire.py): a column layer gathers its input again in backward,
where DTensor keeps the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from lab_utils.bench import timed
from lab_utils.bench.figures import RATIO, Sample, at_most, figure
from lab_utils.bench.figures_of.strategies import LAB, SIZES, TORCH, Size, peak_growth
from lab_utils.strategies.mesh import Mesh

RANKS = 2
TURNS = 12
VOCABULARY, BLOCK = 1024, 64


# ---------------------------------------------------------------------- on a rank
def in_turns(size: Size, sequence: bool, count: int) -> list[tuple[float, float]]:
    """Seconds of a step by the lab and by PyTorch, in pairs; the order alternates."""
    return timed.in_turns(*(program(whose, size, sequence) for whose in (LAB, TORCH)), count)


def peak_bytes(whose: str, size: Size, sequence: bool) -> int:
    """Peak growth of this process's memory from before the model is built to after three steps."""
    return peak_growth(lambda of_size: program(whose, of_size, sequence), size)


def steps(whose: str, size: Size, sequence: bool, count: int) -> list[float]:
    """Run so many steps; return the losses."""
    step = program(whose, size, sequence)
    return [step().item() for _ in range(count)]


def program(whose: str, size: Size, sequence: bool) -> Callable[[], Any]:
    """Return a training step of the same model on the same batch, which returns the loss."""
    import torch

    from lab_utils.gpt import GPT, GPTConfig

    torch.manual_seed(0)
    # Untied: PyTorch's plan would cut the two uses of a tied weight apart.
    model = GPT(GPTConfig(VOCABULARY, BLOCK, size.layers, size.channels, heads=4, tied=False))
    x = torch.randint(VOCABULARY, (2 * size.batch, BLOCK))
    return (_lab if whose == LAB else _torch)(model, x, sequence)


def _lab(model: Any, x: Any, sequence: bool) -> Callable[[], Any]:
    from lab_utils.strategies.model.tensor_parallel import plans, split
    from lab_utils.strategies.model.training import step

    mesh = Mesh(tp=RANKS)
    optimizer = _adam(split(model, plans.GPT, mesh, sequence).parameters())
    return lambda: step(model, optimizer, x, x, mesh)


def _torch(model: Any, x: Any, sequence: bool) -> Callable[[], Any]:
    from torch.distributed.tensor.parallel import loss_parallel, parallelize_module

    from lab_utils.strategies import serial

    parallelize_module(model, Mesh(tp=RANKS).device_mesh["tp"], _plan(len(model.blocks), sequence))
    optimizer = _adam(model.parameters())

    def step() -> Any:
        with loss_parallel():
            return serial.step(model, optimizer, x, x)

    return step


def _plan(blocks: int, sequence: bool) -> dict[str, Any]:
    """PyTorch's tutorial's plan, its loss on cut logits too; the input of q, k and v is made a DTensor once."""
    from torch.distributed.tensor import Replicate, Shard
    from torch.distributed.tensor.parallel import (
        ColwiseParallel,
        PrepareModuleInput,
        PrepareModuleOutput,
        RowwiseParallel,
        SequenceParallel,
    )

    between = Shard(1) if sequence else Replicate()
    once = PrepareModuleInput(input_layouts=(between,), desired_input_layouts=(Replicate(),))
    rows = RowwiseParallel(output_layouts=between)
    block = {f"attention.{name}": ColwiseParallel() for name in ("query", "key", "value")}
    block |= {"attention": once, "attention.out": rows, "mlp": once, "mlp.up": ColwiseParallel(), "mlp.down": rows}
    plan: dict[str, Any] = {}
    if sequence:
        block |= {"norm1": SequenceParallel(), "norm2": SequenceParallel()}
        plan["norm"] = SequenceParallel()
        plan["positions"] = PrepareModuleOutput(output_layouts=Replicate(), desired_output_layouts=Shard(0))
    plan |= {f"blocks.{number}.{name}": how for number in range(blocks) for name, how in block.items()}
    plan["tokens"] = RowwiseParallel(input_layouts=Replicate(), output_layouts=between)
    plan["head"] = ColwiseParallel(input_layouts=between, output_layouts=Shard(-1), use_local_output=False)
    return plan


def _adam(parameters: Any) -> Any:
    import torch
    from torch.distributed.tensor import DTensor

    both: dict[bool, list] = {}
    for parameter in parameters:
        both.setdefault(isinstance(parameter, DTensor), []).append(parameter)
    return torch.optim.AdamW([{"params": each} for each in both.values()], lr=1e-3, fused=True)


# ---------------------------------------------------------------------- here
def step(size: Size, sequence: bool, count: int = TURNS) -> Iterator[Sample]:
    from lab_utils.ranks import start_ranks

    with start_ranks(RANKS) as ranks:
        by_rank = ranks.run(in_turns, size, sequence, count)
    yield from timed.slowest(by_rank)


def wire(size: Size, sequence: bool) -> Iterator[Sample]:
    """Bytes that a rank sends in a step: of two recordings, of three steps and of one, the half of what is between."""
    from lab_utils.ranks import start_ranks
    from lab_utils.timeline.simulator.sent_bytes import sent_bytes

    found = []
    with start_ranks(RANKS) as ranks:
        for whose in (LAB, TORCH):
            one, three = (sent_bytes(ranks.record(steps, whose, size, sequence, count)) for count in (1, 3))
            found.append(float((three - one).max()) / 2e6)
    yield Sample(*found)


def peak(size: Size, sequence: bool) -> Iterator[Sample]:
    """Measure each on fresh ranks: a process does not return all of its freed memory."""
    from lab_utils.ranks import start_ranks

    found = []
    for whose in (LAB, TORCH):
        with start_ranks(RANKS) as ranks:
            found.append(max(ranks.run(peak_bytes, whose, size, sequence)) / 1e6)
    yield Sample(*found)


for _sequence, _kind, _title in (
    (True, "tensor-sequence", "tensor and sequence parallel"),
    (False, "tensor", "tensor parallel"),
):
    for _name, _size in reversed(SIZES.items()):
        figure(
            f"{_kind}-{_name}-memory", f"memory of {RANKS} ranks' steps at its highest, {_title}, {_name} parameters",
            "MB", reference="DTensor", target=at_most(1.0, RATIO), size=_size, sequence=_sequence,
        )(peak)  # fmt: skip
        figure(
            f"{_kind}-{_name}-bytes", f"bytes that a rank of {RANKS} sends in a step, {_title}, {_name} parameters",
            "MB", reference="DTensor", target=at_most(1.0, RATIO), rounds=1, size=_size,
            sequence=_sequence,
        )(wire)  # fmt: skip
        figure(
            f"{_kind}-{_name}", f"a step on {RANKS} ranks, {_title}, a GPT of {_name} parameters", "ms",
            reference="DTensor", target=at_most(1.0, RATIO), rounds=1, size=_size, sequence=_sequence,
        )(step)  # fmt: skip
