"""`python -m lab_utils soak`: random faults at random moments; checks that errors name them and ranks recover."""
