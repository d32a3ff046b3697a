"""LiveCurve: a loss curve that grows while the ranks train."""
