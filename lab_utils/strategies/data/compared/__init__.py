"""Every data-parallel strategy, run side by side."""
