"""This machine: checks of what it has and lacks, and the launch of JupyterLab on it."""
