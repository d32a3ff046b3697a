"""The router: which k of E experts a token goes to, and with which weights.

N tokens of this rank   C channels   E experts   k experts of each token

| score   | normalise | weights of the chosen                       | as in                                           |
|---------|-----------|---------------------------------------------|-------------------------------------------------|
| softmax | False     | softmax over all E                          | Fedus et al. 2021, "Switch", k = 1, eq. 2       |
| softmax | True      | the same divided by their sum, which is the | Shazeer et al. 2017, eq. 3 to 5; Lepikhin et    |
|         |           | softmax over the chosen alone               | al. 2020, "GShard"; Jiang et al. 2024, "Mixtral" |
| sigmoid | True      | each expert's own, divided by their sum     | DeepSeek-V3 2024, eq. 12 to 16, with `biased`   |

Every rank of tp sees the same tokens and so makes the same choice: no rank asks another.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Score = Literal["softmax", "sigmoid"]


class Routing(NamedTuple):
    """What a router decided.

    experts        [N, k] int64: the chosen, the best first
    weights        [N, k]: what their outputs are multiplied by
    probabilities  [N, E]: of all experts, each token's sum 1, for the balance loss
    """

    experts: Tensor
    weights: Tensor
    probabilities: Tensor


class Router(nn.Module):
    """Chooses k experts for each token.

    score      of an expert for a token, from the logits x Wᵀ
    normalise  divide the weights of the chosen by their sum; by default where k > 1
    biased     choose by score + bias; the weights stay the scores'. `update_bias` moves the bias, no gradient does
    dtype      of the scores: at least float32 by default (Fedus et al. 2021, section 2.4, "selective precision")

    ValueError for a k that is not in 1..E, and for k = 1 with normalise, where the only weight is 1 whatever the logits
    are, so that the router would get no gradient.
    """

    def __init__(
        self,
        channels: int,
        experts: int,
        top_k: int,
        *,
        score: Score = "softmax",
        normalise: bool | None = None,
        biased: bool = False,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        normalise = top_k > 1 if normalise is None else normalise
        _check(experts, top_k, score, normalise)
        self.experts, self.top_k, self.score, self.normalise, self.dtype = experts, top_k, score, normalise, dtype
        self.weight = nn.Parameter(torch.empty(experts, channels))
        self.register_buffer("bias", torch.zeros(experts) if biased else None)

    def forward(self, x: Tensor) -> Routing:
        """Route tokens x [N, C]."""
        with torch.autocast(x.device.type, enabled=False):
            wide = torch.promote_types(x.dtype, torch.float32)
            logits = F.linear(x.to(wide), self.weight.to(wide)).to(self.dtype or wide)  # [N, E]
        scores = logits.softmax(-1) if self.score == "softmax" else logits.sigmoid()
        experts = top(scores.detach() if self.bias is None else scores.detach() + self.bias, self.top_k)
        weights = scores.gather(1, experts)  # [N, k]
        if self.normalise:
            weights = weights / weights.sum(-1, keepdim=True)
        probabilities = scores if self.score == "softmax" else scores / scores.sum(-1, keepdim=True)
        return Routing(experts, weights, probabilities)


def top(scores: Tensor, k: int) -> Tensor:
    """Return the k best of scores [N, E], the best first: int64 [N, k]. Of equal ones the lower number is better.

    torch.topk leaves the order of equal scores open: it could depend on how many tokens a rank has.
    """
    return scores.sort(dim=-1, descending=True, stable=True).indices[:, :k]


def _check(experts: int, top_k: int, score: str, normalise: bool) -> None:
    if not 1 <= top_k <= experts:
        raise ValueError(f"top_k={top_k} of {experts} experts: a token goes to 1 to {experts} of them")
    if score not in ("softmax", "sigmoid"):
        raise ValueError(f"score={score!r}: an expert's score is its softmax or its sigmoid")
    if normalise and top_k == 1:
        raise ValueError(
            "top_k=1 with normalise=True: the only weight is always 1, so the router would get no gradient; "
            "normalise=False keeps the score, as Switch does"
        )
