"""Gradients in buckets, all-reduced while the backward still runs."""
