"""Random faults on real ranks, which have the machine to themselves: `make test` runs this file alone."""

from __future__ import annotations

import re

from test_soak_command import soak

from lab_utils.soak.faults import KINDS

FAULTS = 12
SEED = 13  # strikes the training script by an interrupt and by a kill


def test_faults_on_real_ranks_are_named_and_got_over() -> None:
    with soak("--faults", FAULTS, "--seed", SEED) as child:
        said, progress = child.communicate()
    assert child.returncode == 0, said + progress
    assert len(re.findall(r"^\[\d+/12\] .* named after .* usable after", progress, re.MULTILINE)) == FAULTS
    assert {line.split(" ")[0] for line in said.splitlines()} >= {*KINDS, "all"}
    assert f"{FAULTS} faults on 4 ranks, seed {SEED}: {FAULTS} named right, {FAULTS} followed by" in said
    assert "0 processes left, 0 files left, 0 restarts" in said
