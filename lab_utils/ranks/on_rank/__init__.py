"""What runs inside a rank: calls, cells, streams, the end of the process."""
