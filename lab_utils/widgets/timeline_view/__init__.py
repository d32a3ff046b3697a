"""TimelineView: what every rank did, when it waited, on any hardware."""
