"""A schedule placed op by op: what may come next, levels with a par, and positions saved as text."""
