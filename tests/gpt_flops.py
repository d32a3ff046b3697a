"""The FLOPs of the lab's GPT by the published formula, for what counts them."""

from __future__ import annotations

from lab_utils.gpt import GPTConfig


def flops_per_token(config: GPTConfig, time: int | None = None) -> int:
    """FLOPs per training token, forward and backward, at sequence length `time` (by default the block).

    6 N for the N weights that a token is multiplied with: one multiplication and one addition forward, twice
    that backward (Kaplan et al. 2020, arXiv 2001.08361, section 2.1). N counts the layers' matrices and the
    output layer; embedding look-ups, biases, norms and GELU are left out. Plus 12 · layers · C · T for the
    scores and the weighted values of attention (Chowdhery et al. 2022, PaLM, arXiv 2204.02311, appendix B),
    which includes the masked half: a kernel that skips it saves up to half of that term.
    """
    time = config.block if time is None else time
    weights = config.layers * 12 * config.channels**2 + config.vocabulary * config.channels
    return 6 * weights + 12 * config.layers * config.channels * time
