"""Gradient compression: half precision, top-k and PowerSGD, with error feedback."""
