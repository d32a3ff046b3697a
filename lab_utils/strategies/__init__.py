"""Parallel training strategies: plain torch code, for the lab's ranks or torchrun."""
