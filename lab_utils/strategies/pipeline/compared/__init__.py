"""Pipeline schedules, compared on one task."""
