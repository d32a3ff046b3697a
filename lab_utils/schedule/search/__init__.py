"""Search for schedules, with a lower bound on their length."""
