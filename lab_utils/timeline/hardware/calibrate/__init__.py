"""Calibration: compute and communication of this machine, measured on its ranks."""
