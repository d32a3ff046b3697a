"""The simulator: places programs of ops in time on given hardware."""
