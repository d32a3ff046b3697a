"""Export of timelines as Perfetto traces, CSV tables and text."""
