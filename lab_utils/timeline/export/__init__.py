"""Timelines as Perfetto traces, tables and words."""
