"""A pipeline's loss without gradients, and clipping by the norm of all ranks' gradients: both as serial's."""

from __future__ import annotations

import re

import pytest
from pipeline_programs import BATCH, batch_of, model_of, schedule_of

from lab_utils.ranks import RankError, Ranks
from lab_utils.schedule import schedules
from lab_utils.strategies.parity import parity

NAMES = ("zb_v", "dualpipe")
MAX_NORM = 0.05


def clipped_in_series() -> tuple[dict, float]:
    """Two steps, each clipped by torch; and the norm before the last."""
    import torch

    from lab_utils.gpt import cross_entropy
    from lab_utils.strategies import serial

    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    for step in range(2):
        x, y = batch_of("gpt", step)
        optimizer.zero_grad()
        loss = cross_entropy(model(x)[0], y)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
    return serial.snapshot(model, loss.detach()), norm.item()


def clipped_on_ranks(wanted) -> list[tuple[dict, float, float]]:
    """The same by schedules: where the pipeline stands, the norm before clipping, and the norm after."""
    import torch
    from pipeline_programs import batch_of, pipeline_of

    from lab_utils.strategies.pipeline import snapshot

    found = []
    for schedule in wanted:
        pipeline = pipeline_of(schedule)
        optimizer = torch.optim.SGD(pipeline.parameters(), 0.5)
        for step in range(2):
            optimizer.zero_grad()
            loss = pipeline.run(*batch_of("gpt", step))
            norm = pipeline.clip_grad_norm_(MAX_NORM)
            optimizer.step()
        found.append((snapshot(pipeline, loss), norm.item(), pipeline.clip_grad_norm_(1e9).item()))
    return found


def test_clipping_is_by_the_norm_of_the_whole_model(ranks2: Ranks) -> None:
    serial, norm = clipped_in_series()
    assert norm > 10 * MAX_NORM  # there is something to clip, also in a tied weight
    for by_schedule in zip(*ranks2.run(clipped_on_ranks, [schedule_of(name, 2, 4) for name in NAMES]), strict=True):
        same = parity(serial, [state for state, _, _ in by_schedule], tolerance=1e-10)
        assert same.equal, same
        for _, before, after in by_schedule:
            assert before == pytest.approx(norm, rel=1e-12) and after == pytest.approx(MAX_NORM, rel=1e-3)


def evaluated(schedule, kind: str) -> dict:
    """Losses before and after a step, of a pipeline with dropout; what a step leaves behind."""
    import torch
    from pipeline_programs import batch_of, model_of, pipeline_of

    from lab_utils.strategies.pipeline import Pipeline

    plain = pipeline_of(schedule, kind)
    first = plain.evaluate(*batch_of(kind)).item()
    untouched = all(p.grad is None for p in plain.parameters()) and plain.peak_alive == 0
    layers = [*model_of(kind), torch.nn.Dropout(0.5)]
    dropping = Pipeline(layers, schedule, loss_of=torch.nn.functional.mse_loss)
    layers[0].eval()  # stays so
    dropped = dropping.run(*batch_of(kind)).item()
    gradients = [p.grad.clone() for p in dropping.parameters()]
    same = dropping.evaluate(*batch_of(kind)).item()
    kept = all(map(torch.equal, gradients, (p.grad for p in dropping.parameters())))
    modes = [module.training for stage in dropping.stages.values() for module in stage.children()]
    return {"losses": (first, same), "dropped": dropped, "kept": kept and untouched, "modes": modes}


@pytest.mark.parametrize("name", ["zb_h1", "v_half", "dualpipe"])
def test_evaluating_gives_serials_loss_and_changes_nothing(ranks2: Ranks, name: str) -> None:
    import torch

    x, y = batch_of("layers")
    serial = torch.nn.functional.mse_loss(model_of("layers")(x), y).item()
    by_rank = ranks2.run(evaluated, schedule_of(name, 2, 4), "layers")
    for found in by_rank:
        assert found["losses"] == pytest.approx((serial, serial), rel=1e-10) and found["kept"]
        assert found["dropped"] != pytest.approx(serial, rel=1e-3)
        assert True in found["modes"]
    assert not all(by_rank[0]["modes"])  # the rank with the layer that was in eval mode before


def goes_wrong(what: str) -> None:
    import torch
    from torch import nn

    from lab_utils.strategies.pipeline import Pipeline

    class Named(nn.Module):
        def forward(self, x):
            return {"x": x}

    losses = {"each": lambda out, y: (out - y) ** 2, "detached": lambda out, y: (out - y).square().mean().detach()}
    layers = [nn.Linear(4, 4), Named() if what == "dict" else nn.Tanh(), nn.Linear(4, 4), nn.Tanh()]
    pipeline = Pipeline(layers, schedules.one_f_one_b(2, 3), loss_of=losses.get(what, nn.functional.mse_loss))
    pipeline.run(torch.ones(6, 4), torch.ones(5 if what == "short" else 6, 4))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("dict", "it gives dict: from stage to stage go tensors"),
        ("each", "loss_of gave a tensor [2, 4]: a tensor [] is needed"),
        ("detached", "the loss has no gradient: was it detached"),
        ("short", "x has 6 samples and y 5"),
    ],
)
def test_what_cannot_be_trained_is_said(ranks2: Ranks, what: str, said: str) -> None:
    with pytest.raises(RankError, match=re.escape(said)):
        ranks2.run(goes_wrong, what)


def too_few(microbatches: int) -> None:
    from pipeline_programs import batch_of, pipeline_of

    pipeline_of(schedules.gpipe(2, microbatches), "layers").evaluate(*batch_of("layers"))


def test_a_batch_smaller_than_the_micro_batches_is_refused(ranks2: Ranks) -> None:
    with pytest.raises(RankError, match=f"the schedule GPipe has {BATCH + 1}, and each needs at least one"):
        ranks2.run(too_few, BATCH + 1)


def clipped_beside_a_frozen_rank() -> tuple[float, float]:
    """The norm of the first rank's stage, and what is left of it."""
    import torch
    from torch import nn

    from lab_utils.strategies.pipeline import Pipeline

    torch.manual_seed(0)
    layers = [nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4).requires_grad_(False), nn.Tanh()]
    pipeline = Pipeline(layers, schedules.one_f_one_b(2, 2), loss_of=nn.functional.mse_loss)
    pipeline.run(torch.ones(6, 4), torch.zeros(6, 4))
    norm = pipeline.clip_grad_norm_(1e-3).item()
    left = [p.grad for p in pipeline.parameters() if p.grad is not None]
    return norm, torch.nn.utils.get_total_norm(left).item()


def test_clipping_beside_a_rank_whose_stage_is_frozen(ranks2: Ranks) -> None:
    (norm, left), (same, nothing) = ranks2.run(clipped_beside_a_frozen_rank)
    assert norm == same > 1e-3 and left == pytest.approx(1e-3, rel=1e-2) and nothing == 0
