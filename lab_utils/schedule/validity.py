"""What can be wrong with a schedule, in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lab_utils.schedule.schedule import Schedule


def complaint(schedule: Schedule) -> str:
    """The first thing wrong, "" when nothing is. That ranks wait for each other in a circle only placing it shows."""
    for rule in (_sizes, _all_ops, _one_rank_a_stage, _order):
        if said := rule(schedule):
            return said
    return ""


def _sizes(s: Schedule) -> str:
    if s.stages < 1 or s.microbatches < 1:
        return f"{s.stages} stages and {s.microbatches} micro-batches: at least one of each is needed"
    for name, most in (("stage", s.stages), ("microbatch", s.microbatches)):
        values = getattr(s, name)
        if len(values) and (values.min() < 0 or values.max() >= most):
            return f"{name} {values.min() if values.min() < 0 else values.max()} is not one of {most}"
    return ""


def _all_ops(s: Schedule) -> str:
    """Each micro-batch has on each stage one F, and one BW or one B and one W."""
    from lab_utils.schedule.schedule import KINDS

    shape = len(KINDS), s.stages, s.microbatches
    which = (s.kind.astype(np.int64) * s.stages + s.stage) * s.microbatches + s.microbatch
    f, b, w, bw = np.bincount(which, minlength=np.prod(shape)).reshape(shape)
    for name, right in (("F", f == 1), ("B or BW", b + bw == 1), ("W or BW", w + bw == 1)):
        if not right.all():
            stage, microbatch = np.argwhere(~right)[0].tolist()
            found = {"F": f, "B or BW": b + bw, "W or BW": w + bw}[name][stage, microbatch]
            return f"stage {stage} runs {name} of micro-batch {microbatch} {found} times, and once is needed"
    return ""


def _one_rank_a_stage(s: Schedule) -> str:
    owner = np.zeros(s.stages, np.int32)
    owner[s.stage] = s.rank
    for at in np.flatnonzero(owner[s.stage] != s.rank)[:1]:
        stage = s.stage[at]
        return f"stage {stage} runs on ranks {s.rank[at]} and {owner[stage]}: a stage's layers are on one rank"
    return ""


def _order(s: Schedule) -> str:
    """On one rank, nothing comes before what it needs."""
    needs = s.needs
    (at,) = np.nonzero(needs >= 0)
    source = needs[at]
    for wrong in at[(s.rank[source] == s.rank[at]) & (source > at)][:1]:
        op, needed = s.ops[wrong], s.ops[needs[wrong]]
        return f"rank {op.rank} runs {op.name} of stage {op.stage} before {needed.name} of stage {needed.stage}"
    return ""
