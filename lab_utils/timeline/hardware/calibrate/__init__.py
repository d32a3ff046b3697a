"""What this machine computes and sends, measured on its ranks."""
