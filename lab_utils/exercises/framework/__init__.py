"""What every exercise is made of: its card, numeric answers, code, code that runs on the ranks."""
