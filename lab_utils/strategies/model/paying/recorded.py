"""Records one block of the lab's GPT, split over tp, at small sizes: what a rank does in its forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Protocol

from lab_utils.strategies.model.paying.scaled import ScaledLayer, Sizes
from lab_utils.timeline import Trace
from lab_utils.timeline.ops import Op

# Nine give the coefficients, three more have to agree with them.
SIZES = tuple(
    Sizes(t, c, 8 * (1 + (i + j) % 2)) for (i, t), (j, c) in product(enumerate((16, 32, 48)), enumerate((32, 64, 96)))
)
MORE = (Sizes(64, 64, 8), Sizes(16, 128, 16), Sizes(32, 96, 8))


class Records(Protocol):
    """Ranks, as `start_ranks` returns them."""

    size: int

    def record(self, function: Callable, *args: Any) -> Trace: ...


def record_layer(ranks: Records, tp: int, *, sequence: bool = False) -> ScaledLayer:
    """Record a block of bfloat16 on all ranks, in groups of tp; return it for any sizes.

    >>> layers = {tp: record_layer(ranks, tp) for tp in (1, 2, 4)}

    ValueError when tp does not divide the ranks, or is more than 8, the heads of the smallest recorded layer.
    """
    if tp < 1 or ranks.size % tp or tp > min(each.heads for each in SIZES):
        fitting = [str(n) for n in (1, 2, 4, 8) if ranks.size % n == 0]
        raise ValueError(f"tp = {tp} does not go with {ranks.size} ranks and 8 heads: tp can be {', '.join(fitting)}")
    sizes = [*SIZES, *MORE]
    trace = ranks.record(run_layers, tp, sequence, sizes)
    return ScaledLayer.from_recordings({each: part_of(trace, name_of(each)) for each in sizes})


def name_of(sizes: Sizes) -> str:
    return "T {}, C {}, H {}".format(*sizes)


def part_of(trace: Trace, phase: str) -> Trace:
    """Return the ops of one phase as a trace of their own."""
    return Trace(tuple(tuple(_renumbered(ops, phase)) for ops in trace.ops))


def _renumbered(ops: Sequence[Op], phase: str):
    places = {at: number for number, at in enumerate(at for at, op in enumerate(ops) if op.phase == phase)}
    for at in places:
        op = ops[at]
        yield op if op.of is None else replace(op, of=places[op.of])


def run_layers(tp: int, sequence: bool, sizes: Sequence[Sizes]) -> None:
    """Run forward and backward of a block of each of the sizes, in a phase of its own; on the ranks."""
    import torch
    import torch.distributed as dist

    from lab_utils.comm.recorder.recorder import phase
    from lab_utils.gpt import GPT, GPTConfig
    from lab_utils.strategies.mesh import Mesh
    from lab_utils.strategies.model.tensor_parallel import split
    from lab_utils.strategies.model.tensor_parallel.plans import GPT as PLAN

    mesh = Mesh(dp=dist.get_world_size() // tp, tp=tp)
    for tokens, channels, heads in sizes:
        config = GPTConfig(vocabulary=8, block=tokens, layers=1, channels=channels, heads=heads)
        block = split(GPT(config).bfloat16(), PLAN, mesh, sequence=sequence).blocks[0]
        here = tokens // tp if sequence else tokens
        x = torch.ones(1, here, channels, dtype=torch.bfloat16, requires_grad=True)
        gradient = torch.ones_like(x)
        dist.barrier()
        with phase(name_of(Sizes(tokens, channels, heads))):
            block(x).backward(gradient)
