"""Activation memory of ring attention over a long sequence, against one rank's that has all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from lab_utils.bench.figures import RATIO, Sample, at_most, figure

RANKS, TOKENS = 4, 8192
VOCABULARY, LAYERS, CHANNELS, HEADS = 256, 4, 64, 4
KEPT, PEAK = "kept", "peak"
ALONE, CUT = "alone", "cut"


# ---------------------------------------------------------------------- on a rank
def measured(tokens: int) -> dict[str, Any]:
    """Return bytes of activations and a snapshot of one forward and backward in float64: cut, and alone on rank 0."""
    import torch
    import torch.distributed as dist

    from lab_utils.strategies import serial
    from lab_utils.strategies.mesh import Mesh
    from lab_utils.strategies.model import placement
    from lab_utils.strategies.model.context.parallel import context_parallel

    mesh, found = Mesh(cp=dist.get_world_size()), {}
    ids = torch.randint(VOCABULARY, (1, tokens + 1), generator=torch.Generator().manual_seed(1))
    x, y = ids[:, :-1], ids[:, 1:]
    if dist.get_rank() == 0:
        model = _model(tokens)
        loss, found[ALONE] = _counted(model, lambda: model(x, y)[1])
        found[ALONE]["snapshot"] = serial.snapshot(model, loss)
    model = _model(tokens)
    split = context_parallel(model, mesh, tokens)
    x, y = (split.own(each, mesh.mine["cp"]) for each in (x, y))
    loss, found[CUT] = _counted(model, lambda: model(x, y)[1])
    placement.sum_gradients(model, mesh)
    return found | {CUT: found[CUT] | {"snapshot": placement.snapshot(model, loss, mesh)}}


def _model(tokens: int) -> Any:
    import torch

    from lab_utils.gpt import GPT, GPTConfig

    torch.manual_seed(0)
    return GPT(GPTConfig(VOCABULARY, tokens, LAYERS, CHANNELS, HEADS)).double()


def _counted(model: Any, forward: Callable[[], Any]) -> tuple[Any, dict[str, int]]:
    """Run forward and backward; return the loss, and the bytes kept when forward has ended and at the peak.

    Counted are the storages of live tensors, as in a recording, without what was there before; gradients were.
    """
    import torch

    from lab_utils.comm.recorder.kernel_counter import KernelCounter

    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    counter = KernelCounter()
    with counter.live.followed(), counter:
        before = counter.live.bytes
        loss = forward()
        kept = counter.live.bytes - before
        loss.backward()
        peak, _ = counter.live.take()
    return loss.detach(), {KEPT: kept, PEAK: peak - before}


# ---------------------------------------------------------------------- here
def activations(which: str, tokens: int = TOKENS) -> Iterator[Sample]:
    """Yield the largest of the ranks', beside one rank's. RuntimeError when they do not compute the same."""
    from lab_utils.ranks import start_ranks
    from lab_utils.strategies.parity import parity

    with start_ranks(RANKS) as ranks:
        found = ranks.run(measured, tokens)
    alone, cut = found[0][ALONE], [each[CUT] for each in found]
    compared = parity(alone["snapshot"], [each["snapshot"] for each in cut])
    if not compared.equal:
        raise RuntimeError(compared.verdict)
    yield Sample(max(each[which] for each in cut) / 1e6, alone[which] / 1e6)


for _which, _said in ((KEPT, "kept for backward"), (PEAK, "at their highest")):
    figure(
        f"context-ring-{_which}", f"activations of {TOKENS:,} tokens {_said}, ring attention, {RANKS} ranks, each",
        "MB", reference="one rank", target=at_most(0.27, RATIO), rounds=1, which=_which,
    )(activations)  # fmt: skip
