"""The processes of the ranks: start, fork, interrupt and end them."""
