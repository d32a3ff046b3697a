"""When does tensor parallel stop paying? One layer, recorded small, timed at any width on any hardware.

Names are loaded on first use. None needs torch in the notebook's kernel: the ranks load it when they record.
"""

from lab_utils.lazy import lazy

_HOME = {
    "record_layer": "recorded",
    "Sizes": "scaled",
    "ScaledLayer": "scaled",
    "Paying": "explorer",
    "Point": "explorer",
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy(__name__, _HOME)
