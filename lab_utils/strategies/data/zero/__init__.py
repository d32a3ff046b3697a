"""ZeRO 1 to 3: optimizer state, gradients and parameters sharded over the ranks."""
