"""The figures of `python -m lab_utils bench`, one module per kind."""
