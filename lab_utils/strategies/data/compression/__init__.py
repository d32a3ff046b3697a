"""Gradients that are sent smaller: half precision, top-k, PowerSGD, with error feedback."""
