"""Building blocks of exercises: cards, judges of numbers and of code, what runs on the ranks, and shared words."""
