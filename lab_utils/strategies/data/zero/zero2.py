"""ZeRO's second stage: each rank keeps the optimizer's state and the gradients of its piece only.

Rajbhandari et al. 2020, "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models" (SC 20), section 5.2.
On the wire as much as stage 1 (section 7.2.1).
"""

from __future__ import annotations

from lab_utils.strategies.data.zero.zero1 import ShardedOptimizer


class ShardedGradients(ShardedOptimizer):
    """ZeRO-2: as ZeRO-1, and gradients that have been reduced are kept in pieces only.

    Their memory is given back while the backward still runs. Several backwards in a row add up in the pieces, each
    with a reduce-scatter of its own.
    """

    frees_gradients = True
