"""A GPT split over tp computes what the unsplit one does: loss, every gradient, ten steps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
from tensor_programs import train, train_serially

from lab_utils import start_ranks
from lab_utils.ranks import Ranks
from lab_utils.strategies.mesh import Mesh
from lab_utils.strategies.parity import parity


@pytest.fixture(scope="module")
def ranks1() -> Iterator[Ranks]:
    with start_ranks(1) as ranks:
        yield ranks


serially = cache(train_serially)


@pytest.mark.parametrize("sequence", [False, True], ids=["", "sequence"])
@pytest.mark.parametrize("mesh", [Mesh(tp=1), Mesh(tp=2), Mesh(tp=4), Mesh(dp=2, tp=2), Mesh(dp=4)], ids=str)
def test_equals_serial_with_tied_weights_bias_dropout_and_clipping(mesh: Mesh, sequence: bool, request) -> None:
    ranks = request.getfixturevalue(f"ranks{mesh.ranks}")
    found = parity(serially(dropout=0.2), ranks.run(train, mesh, sequence, dropout=0.2), 1e-10)
    assert found.equal, found


@pytest.mark.parametrize("sequence", [False, True], ids=["", "sequence"])
def test_equals_serial_untied(ranks2: Ranks, sequence: bool) -> None:
    changes = {"tied": False, "steps": 2}
    found = parity(serially(**changes), ranks2.run(train, Mesh(tp=2), sequence, **changes), 1e-10)
    assert found.equal, found
