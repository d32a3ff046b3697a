"""Search for schedules, with a bound that says how far from the best one they can be."""
