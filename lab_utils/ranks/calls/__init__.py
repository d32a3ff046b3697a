"""One call on the ranks: sent, watched, its outputs shown, its outcomes put together."""
