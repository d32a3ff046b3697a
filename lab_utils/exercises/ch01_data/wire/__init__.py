"""Exercises of chapters 01e and 01f: local SGD to build, and numbers on bytes and seconds on the wire."""
