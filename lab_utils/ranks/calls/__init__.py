"""One call on the ranks: send it, watch it, show its output, collect its outcomes."""
