"""What all widgets share: scripts and styles, the cell that a widget is shown by, work in the background."""
