"""`python -m lab_utils record -- PROGRAM`: record a program that does not use the lab, and write its Trace."""
