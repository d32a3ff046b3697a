"""Why ranks are stuck, and the errors that a person meets."""
