"""What a layer keeps for its backward: by the published formulas, by the lab's own, and counted in autograd.

Names are loaded on first use: formulas and tables need no torch, so the notebook's kernel can use them.
"""

from lab_utils.lazy import lazy

_HOME = {
    "Term": "terms",
    "Kept": "terms",
    "paper_layer": "formulas_of_paper",
    "paper_ends": "formulas_of_paper",
    "gpt_layer": "formulas_of_gpt",
    "gpt_ends": "formulas_of_gpt",
    "paper_to_gpt": "formulas_of_gpt",
    "kept_by": "counted",
    "PaperLayer": "layer_of_paper",
    "PAPER_PLAN": "layer_of_paper",
    "formula_beside_counted": "table",
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy(__name__, _HOME)
