"""What a rank tells the notebook while it runs: the op it is in, in memory that all share, and reports of progress."""
