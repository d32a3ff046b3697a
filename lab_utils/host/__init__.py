"""The machine: what it has, what is missing, how the lab is launched on it."""
