"""The sizes of exercise 01.18: small enough that activations are much smaller than a rank's piece of a weight."""

LAYERS, CHANNELS, SAMPLES = 5, 48, 2  # CHANNELS: rows for 2, 3, 4, 6 or 8 ranks; SAMPLES: per rank


def limit_of(ranks: int) -> float:
    """Return the limit in whole weights: one, its gradient, and two pieces to work in; of two ranks, one piece."""
    return 2 + (2 if ranks > 2 else 1) / ranks
