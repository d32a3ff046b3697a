"""The words of the predictions of chapters 00 and 00b."""

# fmt: off
