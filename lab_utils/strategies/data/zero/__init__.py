"""ZeRO 1 to 3: sharded optimizer state, gradients and parameters."""
