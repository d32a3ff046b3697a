"""Bubble rates that a paper printed, and the times that it computed them from.

Qi et al. 2024, "Zero Bubble Pipeline Parallelism" (ICLR): tables 5 (rates), 9 (profiled times), 3 (layers).
"""

from __future__ import annotations

from typing import NamedTuple

from lab_utils.schedule import Costs


class Row(NamedTuple):
    """Times in ms, of a stage: forward, backward for the input, for the weights, a message. Then the rates."""

    model: str
    stages: int
    microbatches: int
    virtual_stages: int  # of a rank in 1F1B-I: layers / stages
    forward: float
    backward_input: float
    backward_weight: float
    comm: float
    one_f_one_b: float
    interleaved: float
    zb_h1: float
    zb_h2: float
    zb_1p: float
    zb_2p: float

    @property
    def costs(self) -> Costs:
        return Costs(self.forward, self.backward_input, self.backward_weight, self.comm)


ROWS = [
    Row("1.5B", 8, 24, 3, 18.522, 18.086, 9.337, 0.601, 0.2431, 0.1055, 0.1585, 0.1083, 0.1585, 0.0433),
    Row("1.5B", 8, 32, 3, 18.513, 18.086, 9.331, 0.626, 0.1985, 0.0818, 0.1242, 0.0837, 0.1242, 0.0039),
    Row("1.5B", 8, 64, 3, 18.546, 18.097, 9.321, 0.762, 0.1240, 0.0443, 0.0674, 0.0444, 0.0674, 0.0026),
    Row("6.2B", 8, 24, 4, 29.718, 29.444, 19.927, 0.527, 0.2347, 0.0808, 0.1323, 0.0698, 0.1323, 0.0029),
    Row("6.2B", 8, 32, 4, 29.802, 29.428, 19.530, 0.577, 0.1898, 0.0628, 0.1045, 0.0559, 0.1045, 0.0022),
    Row("6.2B", 8, 64, 4, 29.935, 29.621, 19.388, 0.535, 0.1091, 0.0320, 0.0554, 0.0294, 0.0554, 0.0010),
    Row("14.6B", 16, 48, 3, 11.347, 11.248, 8.132, 0.377, 0.2552, 0.1104, 0.1397, 0.0672, 0.1397, 0.0066),
    Row("14.6B", 16, 64, 3, 11.307, 11.254, 8.101, 0.379, 0.2082, 0.0852, 0.1088, 0.0516, 0.1088, 0.0054),
    Row("14.6B", 16, 128, 3, 11.325, 11.308, 8.109, 0.378, 0.1251, 0.0445, 0.0576, 0.0266, 0.0576, 0.0028),
    Row("28.3B", 32, 96, 2, 10.419, 10.207, 7.715, 0.408, 0.2646, 0.1493, 0.1421, 0.0641, 0.1421, 0.0038),
    Row("28.3B", 32, 128, 2, 10.408, 10.204, 7.703, 0.408, 0.2168, 0.1164, 0.1106, 0.0490, 0.1106, 0.0029),
    Row("28.3B", 32, 256, 2, 10.402, 10.248, 7.698, 0.460, 0.1352, 0.0624, 0.0594, 0.0257, 0.0594, 0.0018),
]
