"""Collectives written from send and receive: ring, tree, two levels; their rounds and the bytes of each."""
