"""What is recorded on a rank: ops and their times, kernels with FLOPs and bytes, memory, source lines."""
