"""The words of LiveCurve: Python's, and SCRIPT, the scripts' part, with {placeholders}."""

from __future__ import annotations

TITLE = "Loss"
LOSS = "loss"
GROWS = "{title}: the curve of {steps} steps grows here while the ranks train"
TOO_FEW_STEPS = "steps={steps}: a curve needs at least 1 step"

SCRIPT = {
    "training_steps": "{title}: training steps",
    "curve": "Curve of the loss: from {first} to {last}",
    "empty_curve": "Curve of the loss: no step yet",
    "step_axis": "step",
    "loss_axis": LOSS,
    "waiting": "waiting for step 1 of {steps}",
    "step": "step {step} of {steps}",
    "loss": "loss {loss}",
    "elapsed": "{time} elapsed",
    "left": "about {time} left",
    "done": "done",
    "ended_early": "ended early",
    "seconds": "{seconds} s",
    "minutes": "{minutes} min {seconds} s",
}
