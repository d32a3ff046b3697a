"""Plans of models: module name -> how it is split."""

from __future__ import annotations

from lab_utils.strategies.model.tensor_parallel.plan import Plan
from lab_utils.strategies.model.tensor_parallel.splits import (
    Column,
    Dropout,
    HeadDropout,
    Heads,
    Loss,
    Positions,
    Row,
    TokenByToken,
    Vocabulary,
)

GPT: Plan = {  # lab_utils.gpt
    "tokens": Vocabulary(),
    "positions": Positions(),
    "dropout": Dropout(),
    "blocks.*.norm{1,2}": TokenByToken(),
    "blocks.*.attention": HeadDropout(),
    "blocks.*.attention.{query,key,value}": Heads("width"),
    "blocks.*.attention.out": Row(),
    "blocks.*.mlp.up": Column(),
    "blocks.*.mlp.down": Row(),
    "blocks.*.dropout": Dropout(),
    "norm": TokenByToken(),
    "head": Vocabulary(),
    "": Loss("config.vocabulary"),
}
