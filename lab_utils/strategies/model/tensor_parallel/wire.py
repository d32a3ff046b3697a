"""What a step of a GPT that is split over tp sends, by formula.

Letters:  B batch   T tokens of the whole sequence   C channels   L layers   n ranks of tp

An all-reduce of a bytes is a reduce-scatter and an all-gather, each of which sends (n - 1) / n · a per rank as a ring.
A layer has two pairs of a column and a row layer. Counted in these halves, of a = B·T·C numbers each:

                 plain                                     with sequence parallelism
    embedding    forward 2                                 forward 1 (reduce-scatter), backward 1 (all-gather)
    pair         forward 2 (row), backward 2 (column)      forward 2 (gather, reduce-scatter),
                                                           backward 3 (gather dY; gather X again, reduce-scatter dX)
    last layer   backward 2                                forward 1, backward 2
    in all       8·L + 4                                   10·L + 5

Sequence parallelism would send as much as plain (Korthikanti et al. 2022, arXiv 2205.05198, section 4.2.2) if a rank
kept the gathered X; that it keeps T/n tokens of it instead costs the quarter more.
"""

from __future__ import annotations


def activations_sent(layers: int, batch: int, tokens: int, channels: int, tp: int, *, sequence: bool = False) -> float:
    """Return how many numbers a rank sends in a step for the activations and their gradients."""
    halves = 10 * layers + 5 if sequence else 8 * layers + 4
    return halves * batch * tokens * channels * (tp - 1) / tp


def loss_sent(batch: int, tokens: int, tp: int, *, label_smoothing: bool = False) -> float:
    """Return how many numbers a rank sends for cross-entropy: the largest logit and the sums of each token."""
    return 2 * (4 if label_smoothing else 3) * batch * tokens * (tp - 1) / tp


def gradients_sent(partial: int, tp: int) -> float:
    """Return how many numbers a rank sends to sum the gradients of so many parameters over tp.

    With sequence parallelism these are the norms, the row layers' biases and the positions; else none.
    """
    return 2 * partial * (tp - 1) / tp
