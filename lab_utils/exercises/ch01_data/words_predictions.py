"""The words of the predictions of chapters 01 to 01f."""

# fmt: off
