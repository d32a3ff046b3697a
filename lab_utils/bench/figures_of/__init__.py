"""The figures that `python -m lab_utils bench` measures, a file for each kind."""
