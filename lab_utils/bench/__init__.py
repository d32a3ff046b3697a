"""`python -m lab_utils bench`: the lab's overhead against the libraries that it uses, measured in one run."""
