"""A model of mixtures trains on ranks as it does unsplit: loss with its balance loss, gradients, ten AdamW steps."""

from __future__ import annotations

from collections.abc import Callable

import experts_programs as programs
import pytest
import torch

from lab_utils.ranks import Ranks
from lab_utils.strategies.parity import parity

ALL = programs.WITH_ALL
CAPACITY = ALL | {"capacity_factor": 0.75, "groups": 4}
DEEPSEEK = ALL | {"score": "sigmoid", "biased": True}
SWITCH = ALL | {"top_k": 1, "activation": "gelu", "shared": 0}

EP, EP_TP = {"dp": 2, "ep": 2}, {"dp": 2, "tp": 2, "ep": 2}
FEW = {"steps": 4}
SEQUENCE = {"plan": "GPT_EXPERTS", "sequence": True}

ON_TWO = {
    "ep 2": {"degrees": EP, "options": ALL},
    "tp 2": {"degrees": {"tp": 2}, "options": ALL},
    "cp 2, ep 2": {"degrees": {"cp": 2, "ep": 2}, "options": ALL},
    "dp 2, every expert on each rank": {"degrees": {"dp": 2}, "options": ALL, **FEW},
    "ep 2, capacity": {"degrees": EP, "options": CAPACITY, **FEW},
    "ep 2, Switch": {"degrees": EP, "options": SWITCH, **FEW},
    "ep 2, DeepSeek": {"degrees": EP, "options": DEEPSEEK, **FEW},
    "ep 2, micro-batches": {"degrees": EP, "options": ALL, "micro": 2, **FEW},
    "tp 2, sequence": {"degrees": {"tp": 2}, "options": ALL, **SEQUENCE, **FEW},
}
ON_FOUR = {
    "ep 4": {"degrees": {"dp": 4, "ep": 4}, "options": ALL, **FEW},
    "dp 2 of ep 2": {"degrees": {"dp": 4, "ep": 2}, "options": ALL},
    "ep 2, tp 2": {"degrees": EP_TP, "options": ALL, "clip": 0.1},
    "ep 2, tp 2, sequence, capacity": {"degrees": EP_TP, "options": CAPACITY, "clip": 0.1, **SEQUENCE},
    "ep 2, tp 2, sequence, whole experts": {
        "degrees": EP_TP,
        "options": ALL,
        "over_tp": False,
        "clip": 0.1,
        **SEQUENCE,
        **FEW,
    },
    "dp 2, cp 2, ep 4": {"degrees": {"dp": 2, "cp": 2, "ep": 4}, "options": ALL, **FEW},
    "cp 2, tp 2, ep 2": {"degrees": {"cp": 2, "tp": 2, "ep": 2}, "options": ALL, **FEW},
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
        kept = {name: value for name, value in case.items() if name in ("options", "clip", "steps")}
        if str(kept) not in known:
            known[str(kept)] = programs.trained(**kept)
        return known[str(kept)]

    return trained


def test_one_rank_computes_bit_for_bit_what_the_unsplit_layer_does(serial: Callable) -> None:
    """Without a process group: a degree of 1 is plain torch."""
    assert not torch.distributed.is_initialized()
    found = programs.trained(degrees={}, options=ALL)
    assert all(torch.equal(found["parameters"][name], p) for name, p in serial({"options": ALL})["parameters"].items())


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
