"""The words of the predictions of chapters 03 and 03b."""

# fmt: off
