"""Collectives built from send and receive: ring, tree, two-level; their rounds and the bytes of each."""
