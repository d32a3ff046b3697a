"""The files that a timeline exports, and its words."""
