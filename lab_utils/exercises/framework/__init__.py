"""Building blocks of exercises: cards, numeric answers, code checks, code that runs on the ranks."""
