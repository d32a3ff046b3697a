"""The text and learning rate on which strategies and schedules are compared."""

from __future__ import annotations

from lab_utils import corpus

CHARACTERS, BLOCK = 60_000, 32
HELD_OUT = 96  # blocks to evaluate on
LEARNING_RATE = 5e-3


def text() -> tuple[corpus.Blocks, corpus.Blocks]:
    """Return blocks of the lab's own text as bytes: (to train on, held out)."""
    tokens = corpus.ByteTokens().encode(corpus.clean(corpus.load()[:CHARACTERS]))
    front, back = corpus.split(tokens, held_out=0.1)
    return corpus.cut(front, BLOCK), corpus.cut(back, BLOCK)[:HELD_OUT]
