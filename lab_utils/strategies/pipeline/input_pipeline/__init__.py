"""Prepares batches while the pipeline computes."""
