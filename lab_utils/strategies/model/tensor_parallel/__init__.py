"""Tensor parallelism: each layer's matrices cut over the ranks of tp; with it, sequence parallelism between them.

Names are loaded on first use, so that the notebook's kernel, which has no torch, can unpickle what names them.
"""

from lab_utils.lazy import lazy

_HOME = {
    "copy": "operators",
    "reduce": "operators",
    "gather_tokens": "operators",
    "reduce_scatter": "operators",
    "scatter": "operators",
    "gather": "operators",
    "ColumnLinear": "linear",
    "RowLinear": "linear",
    "VocabularyEmbedding": "vocabulary",
    "cross_entropy": "vocabulary",
    "split": "plan",
    "Column": "splits",
    "Row": "splits",
    "Heads": "splits",
    "Vocabulary": "splits",
    "TokenByToken": "splits",
    "HeadByHead": "splits",
    "Positions": "splits",
    "Dropout": "splits",
    "HeadDropout": "splits",
    "NoDropout": "splits",
    "Loss": "splits",
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy(__name__, _HOME)
