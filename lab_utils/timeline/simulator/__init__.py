"""The one simulator: programs of ops placed in time on given hardware."""
