"""The exercise in which the reader writes a parameter server."""
