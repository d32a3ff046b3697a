"""A model of mixtures trains on ranks as it does unsplit: loss with its balance loss, gradients, ten AdamW steps."""

from __future__ import annotations

from collections.abc import Callable

import experts_programs as programs
import pytest

from lab_utils.ranks import Ranks
from lab_utils.strategies.parity import parity

ALL = programs.WITH_ALL
CAPACITY = ALL | {"capacity_factor": 0.75, "groups": 4}
DEEPSEEK = ALL | {"score": "sigmoid", "biased": True}
SWITCH = ALL | {"top_k": 1, "activation": "gelu", "shared": 0}

ON_TWO = {
    "ep 2": {"degrees": {"dp": 2, "ep": 2}, "options": ALL},
    "dp 2, experts whole": {"degrees": {"dp": 2}, "options": ALL},
    "tp 2": {"degrees": {"tp": 2}, "options": ALL},
    "ep 2, capacity": {"degrees": {"dp": 2, "ep": 2}, "options": CAPACITY},
    "ep 2, Switch": {"degrees": {"dp": 2, "ep": 2}, "options": SWITCH},
    "ep 2, DeepSeek": {"degrees": {"dp": 2, "ep": 2}, "options": DEEPSEEK},
    "cp 2, ep 2": {"degrees": {"cp": 2, "ep": 2}, "options": ALL, "which": "per token"},
    "ep 2, micro-batches": {"degrees": {"dp": 2, "ep": 2}, "options": ALL, "micro": 2},
}
ON_FOUR = {
    "ep 4": {"degrees": {"dp": 4, "ep": 4}, "options": ALL},
    "dp 2 of ep 2": {"degrees": {"dp": 4, "ep": 2}, "options": ALL},
    "ep 2, tp 2": {"degrees": {"dp": 2, "tp": 2, "ep": 2}, "options": ALL, "clip": 0.1},
    "ep 2, tp 2, capacity": {"degrees": {"dp": 2, "tp": 2, "ep": 2}, "options": CAPACITY},
    "ep 2, tp 2, whole": {"degrees": {"dp": 2, "tp": 2, "ep": 2}, "options": ALL, "over_tp": False, "clip": 0.1},
    "dp 2, cp 2, ep 4": {"degrees": {"dp": 2, "cp": 2, "ep": 4}, "options": ALL, "which": "per token"},
    "cp 2, tp 2, ep 2": {"degrees": {"cp": 2, "tp": 2, "ep": 2}, "options": ALL, "which": "per token"},
}
CASES = [(2, name) for name in ON_TWO] + [(4, name) for name in ON_FOUR]


@pytest.fixture(scope="module")
def found(ranks2: Ranks, ranks4: Ranks) -> dict:
    return {2: ranks2.run(programs.several, ON_TWO), 4: ranks4.run(programs.several, ON_FOUR)}


@pytest.fixture(scope="module")
def serial() -> Callable[[dict], dict]:
    """Train unsplit, once for each model."""
    known: dict[str, dict] = {}

    def trained(case: dict) -> dict:
        kept = {name: value for name, value in case.items() if name in ("options", "which", "clip")}
        if str(kept) not in known:
            known[str(kept)] = programs.trained(**kept)
        return known[str(kept)]

    return trained


@pytest.mark.parametrize(("ranks", "name"), CASES, ids=[f"{name}, {ranks} ranks" for ranks, name in CASES])
def test_it_trains_as_unsplit(found: dict, serial: Callable, ranks: int, name: str) -> None:
    expected = serial((ON_TWO | ON_FOUR)[name])
    split = [each[name] for each in found[ranks]]
    compared = parity(expected, split)
    assert compared.equal, compared
    assert len(expected["gradients"]) > 10 and all(g.abs().max() > 0 for g in expected["gradients"].values())
    for each in split:
        assert each["norms"] == pytest.approx(expected["norms"], rel=1e-10)
        assert all(norm > 0.1 for norm in each["norms"]), "so that it is clipped"
