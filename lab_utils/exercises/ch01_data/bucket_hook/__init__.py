"""Exercise 01.16: hooks that fill buckets and send them while the backward still runs."""
