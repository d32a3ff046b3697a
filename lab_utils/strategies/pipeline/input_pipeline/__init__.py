"""Batches that are prepared while the pipeline works."""
