"""Code that runs on a rank: calls, cells, streams, the end of the process."""
