"""The entry of a plan (tensor_parallel/plan.py) for mixtures, so that one `split` cuts a model over tp and ep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab_utils.strategies.model.experts.layer import MixtureOfExperts
from lab_utils.strategies.model.tensor_parallel.plan import At, Found


@dataclass(frozen=True)
class Mixture:
    """Share out a MixtureOfExperts over ep, and cut each expert over tp."""

    over_tp: bool = True
    axes = ()
    inside = True

    def split(self, found: Sequence[Found], at: At) -> None:
        for each in found:
            if not isinstance(each.module, MixtureOfExperts):
                raise ValueError(
                    f"{each.called} is no MixtureOfExperts: with_experts(GPT) and from_transformers(model) make them"
                )
            each.module.split(at.mesh, over_tp=self.over_tp, sequence=at.sequence)
