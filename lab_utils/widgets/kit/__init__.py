"""Shared by all widgets: scripts and styles, lifetime with the cell's output, background work."""
