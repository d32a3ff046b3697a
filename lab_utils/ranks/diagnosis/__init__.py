"""Diagnosis of stuck ranks, and the errors shown to users."""
