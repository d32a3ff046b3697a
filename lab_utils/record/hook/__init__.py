"""A folder for PYTHONPATH: Python imports its `sitecustomize` whenever it starts."""
