"""The sizes of exercise 01.18: small enough that activations are much smaller than a rank's piece of a weight."""

LAYERS, CHANNELS, SAMPLES = 5, 48, 2  # CHANNELS: rows for 2, 3, 4, 6 or 8 ranks; SAMPLES: per rank
LIMIT = 2.5  # in whole weights: one, its gradient, and half of one to work in
