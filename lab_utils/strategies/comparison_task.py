"""The text and learning rate on which strategies and schedules are compared, and the FLOPs of a step."""

from __future__ import annotations

from torch import Tensor, nn

from lab_utils import corpus
from lab_utils.comm.recorder.kernel_counter import KernelCounter, counting

CHARACTERS, BLOCK = 60_000, 32
HELD_OUT = 96  # blocks to evaluate on
LEARNING_RATE = 5e-3


def text() -> tuple[corpus.Blocks, corpus.Blocks]:
    """Return blocks of the lab's own text as bytes: (to train on, held out)."""
    tokens = corpus.ByteTokens().encode(corpus.clean(corpus.load()[:CHARACTERS]))
    front, back = corpus.split(tokens, held_out=0.1)
    return corpus.cut(front, BLOCK), corpus.cut(back, BLOCK)[:HELD_OUT]


def step_flops(model: nn.Module, x: Tensor, y: Tensor) -> int:
    """Return the FLOPs of a serial step on the whole batch x, y [B, T]: the model's forward and backward."""
    counter = KernelCounter()
    with counting(counter):
        model(x, y)[1].backward()
    return counter.take().flops
