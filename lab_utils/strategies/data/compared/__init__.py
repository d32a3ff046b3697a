"""Data-parallel strategies, compared on one task."""
