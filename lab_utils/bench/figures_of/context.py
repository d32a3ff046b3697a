"""Activation memory of ring attention over a long sequence, against one rank's that has all of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab_utils.bench.figures import RATIO, Sample, at_most, figure

RANKS, TOKENS = 4, 8192
VOCABULARY, LAYERS, CHANNELS, HEADS = 256, 4, 64, 4
KEPT, PEAK = "kept", "peak"


# ---------------------------------------------------------------------- on a rank
def measured(cp: int) -> dict[str, Any]:
    """Return a snapshot of one forward and backward in float64, and the bytes of activations kept and at the peak.

    Counted are the storages of live tensors, as in a recording: `kept` when forward has ended, `peak` in both, less
    what was there before and the gradients.
    """
    import torch

    from lab_utils.comm.recorder.kernel_counter import KernelCounter
    from lab_utils.gpt import GPT, GPTConfig
    from lab_utils.strategies.mesh import Mesh
    from lab_utils.strategies.model.context.parallel import context_parallel, loss_of
    from lab_utils.strategies.model.placement import snapshot, sum_gradients

    mesh = Mesh(cp=cp)
    torch.manual_seed(0)
    model = GPT(GPTConfig(VOCABULARY, TOKENS, LAYERS, CHANNELS, HEADS)).double()
    ids = torch.randint(VOCABULARY, (1, TOKENS + 1), generator=torch.Generator().manual_seed(1))
    split = context_parallel(model, mesh, TOKENS)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    counter = KernelCounter()
    with counter.live.followed(), counter:
        before = counter.live.bytes
        loss = loss_of(model, ids[:, :-1], ids[:, 1:], split, mesh)
        kept = counter.live.bytes - before
        loss.backward()
        peak, _ = counter.live.take()
    sum_gradients(model, mesh)
    return {KEPT: kept, PEAK: peak - before, "snapshot": snapshot(model, loss, mesh)}


# ---------------------------------------------------------------------- here
def activations(which: str) -> Iterator[Sample]:
    """Yield the largest of the ranks', beside one rank's. RuntimeError when they do not compute the same."""
    from lab_utils.ranks import start_ranks
    from lab_utils.strategies.parity import parity

    with start_ranks(1) as alone:
        (reference,) = alone.run(measured, 1)
    with start_ranks(RANKS) as ranks:
        found = ranks.run(measured, RANKS)
    compared = parity(reference["snapshot"], [each["snapshot"] for each in found])
    if not compared.equal:
        raise RuntimeError(compared.verdict)
    yield Sample(max(each[which] for each in found) / 1e6, reference[which] / 1e6)


for _which, _said in ((KEPT, "kept for backward"), (PEAK, "at their highest")):
    figure(
        f"context-ring-{_which}", f"activations of {TOKENS:,} tokens {_said}, ring attention, {RANKS} ranks, each",
        "MB", reference="one rank", target=at_most(0.27, RATIO), rounds=1, which=_which,
    )(activations)  # fmt: skip
