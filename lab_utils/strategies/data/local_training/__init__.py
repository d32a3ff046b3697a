"""Ranks that train alone for some steps and then agree: local SGD, DiLoCo."""
