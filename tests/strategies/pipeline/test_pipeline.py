"""Any schedule on real ranks: loss, gradients and parameters equal serial's, memory and order are the schedule's."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from conftest import GROUP_TIMEOUT_S
from pipeline_programs import BATCH, pipelined, random_order, schedule_of, serial_of, several

from lab_utils import start_ranks
from lab_utils.ranks import RankError, Ranks
from lab_utils.schedule import schedules, simulate
from lab_utils.schedule.schedules import BY_NAME
from lab_utils.strategies.parity import parity
from lab_utils.strategies.pipeline import executed, measured_costs, staged

MICROBATCHES = {2: (1, 5), 4: (3, 8), 8: (4,)}
SPREAD = ("gpipe", "interleaved", "zb_v", "dualpipe", "dualpipe_v", "random0", "random1", "random2")


@pytest.fixture(params=["ranks2", "ranks4"])
def ranks(request: pytest.FixtureRequest) -> Ranks:
    return request.getfixturevalue(request.param)


def assert_equal(serial: dict, schedule, found: list[dict]) -> None:
    """found: what each rank has."""
    same = parity(serial, found, tolerance=1e-10)
    assert same.equal, f"{schedule}: {same}"
    assert [each["peak"] for each in found] == pytest.approx(schedule.peak_activations, abs=1e-12), schedule


def check_all(serial: dict, ranks: Ranks, names, kind: str, microbatches) -> None:
    wanted = [schedule_of(name, ranks.size, m) for name in names for m in microbatches]
    by_rank = ranks.run(several, wanted, kind)
    for schedule, found in zip(wanted, zip(*by_rank, strict=True), strict=True):
        assert_equal(serial, schedule, list(found))


def test_every_schedule_equals_serial(ranks: Ranks) -> None:
    serial = serial_of("layers")
    assert len(serial["gradients"]) == len(serial["parameters"]) == 30
    check_all(serial, ranks, BY_NAME, "layers", MICROBATCHES[ranks.size])


def test_a_tied_gpt_with_frozen_weights(ranks: Ranks) -> None:
    serial = serial_of("gpt")
    assert "blocks.1.mlp.up.weight" not in serial["gradients"] and "head.weight" not in serial["gradients"]
    check_all(serial, ranks, SPREAD, "gpt", [5])


def test_eight_ranks() -> None:
    with start_ranks(8, timeout_s=GROUP_TIMEOUT_S) as ranks:
        check_all(serial_of("layers"), ranks, BY_NAME, "layers", MICROBATCHES[8])


def test_several_steps_of_adamw(ranks2: Ranks) -> None:
    serial = serial_of("gpt", 3)
    schedule = schedules.dualpipe(2, 4)
    assert_equal(serial, schedule, ranks2.run(pipelined, schedule, "gpt", 3))


def accumulated(schedule):
    """Gradients of two runs without zeroing, halved: those of one."""
    from pipeline_programs import batch_of, pipeline_of

    from lab_utils.strategies.pipeline import snapshot

    pipeline = pipeline_of(schedule)
    loss = [pipeline.run(*batch_of("gpt")) for _ in range(2)][0]
    for parameter in pipeline.parameters():
        if parameter.requires_grad:
            parameter.grad /= 2
    return snapshot(pipeline, loss)


@pytest.mark.parametrize("name", ["one_f_one_b", "dualpipe"])
def test_gradients_add_up_over_steps_where_ranks_share_weights_too(ranks2: Ranks, name: str) -> None:
    serial = serial_of("gpt")
    found = ranks2.run(accumulated, schedule_of(name, 2, 3))
    assert parity(serial, [{**each, "parameters": serial["parameters"]} for each in found]).equal


def test_several_tensors_between_stages(ranks2: Ranks) -> None:
    serial = serial_of("masked")
    for schedule in (schedules.gpipe(2, 3), random_order(1, 2, 3, stages=3)):
        assert_equal(serial, schedule, ranks2.run(pipelined, schedule, "masked"))


@pytest.mark.parametrize("ahead", [0, 1, 50])
def test_however_early_tensors_are_let_in(ranks4: Ranks, ahead: int) -> None:
    serial = serial_of("layers")
    schedule = random_order(3, 4, 6, stages=7)
    assert_equal(serial, schedule, ranks4.run(pipelined, schedule, "layers", ahead=ahead))


# ---------------------------------------------------------------------- recorded
def twice(schedule) -> None:
    from pipeline_programs import batch_of, pipeline_of

    pipeline = pipeline_of(schedule, "layers")
    for number in range(2):
        pipeline.run(*batch_of("layers", number))


@pytest.mark.parametrize("name", ["one_f_one_b", "zb_h1", "dualpipe", "random4"])
def test_the_order_executed_is_the_schedule(ranks2: Ranks, name: str) -> None:
    schedule = schedule_of(name, 2, 4)
    trace = ranks2.record(twice, schedule)
    for number in range(2):
        assert executed(trace, number).orders == schedule.orders
    with pytest.raises(IndexError):
        executed(trace, 2)


def test_measured_and_predicted_above_each_other(ranks2: Ranks) -> None:
    schedule = schedules.zb_h1(2, 4)
    trace = ranks2.record(twice, schedule)
    ops = [op for op in staged(trace) if op.stage is not None]
    assert {(op.rank, op.phase, op.stage, op.microbatch) for op in ops} == {
        (op.rank, op.phase, op.stage, op.microbatch) for op in schedule.ops
    }
    assert staged(trace).timeline().makespan_s == trace.timeline().makespan_s
    assert staged(replace(trace, others=(1.0, 2))).others == (1.0, 2)
    costs = measured_costs(trace)
    assert all(each > 0 for each in (*costs.forward, *costs.backward_input)) and costs.comm > 0
    assert simulate(schedule, costs).makespan_s > 4 * (costs.forward[0] + costs.backward_input[0])


def nothing() -> None:
    return None


def test_a_trace_without_a_pipeline_says_so(ranks2: Ranks) -> None:
    with pytest.raises(ValueError, match="no pipeline ran in this trace on every rank"):
        executed(ranks2.record(nothing))


# ---------------------------------------------------------------------- batches and models
def uneven(sizes: list[int], schedule):
    """Loss and gradients of micro-batches of these sizes."""
    from pipeline_programs import batch_of, pipeline_of

    from lab_utils.strategies.pipeline import snapshot

    pipeline = pipeline_of(schedule, "layers")
    x, y = batch_of("layers")
    loss = pipeline.run_parts(list(zip(x.split(sizes), y.split(sizes), strict=True)))
    return snapshot(pipeline, loss)


def test_micro_batches_of_uneven_size_count_by_their_samples(ranks2: Ranks) -> None:
    serial = serial_of("layers")
    found = ranks2.run(uneven, [1, 6, BATCH - 7], schedules.zb_h1(2, 3))
    assert parity(serial, [{**each, "parameters": serial["parameters"]} for each in found]).equal


@pytest.mark.parametrize(
    ("sizes", "said"),
    [([5, 5], "2 micro-batches of 5, 5 samples: the schedule GPipe has 3"), ([5, 5, 0], "5, 5, 0 samples")],
)
def test_other_micro_batches_are_refused(ranks2: Ranks, sizes: list[int], said: str) -> None:
    with pytest.raises(RankError, match=re.escape(said)):
        ranks2.run(uneven, sizes, schedules.gpipe(2, 3))


def states(schedule):
    """Each rank's part of the state dict after a step, and whether it can be put back."""
    import torch
    from pipeline_programs import batch_of, model_of, pipeline_of

    from lab_utils.strategies.pipeline import step

    pipeline = pipeline_of(schedule)
    step(pipeline, torch.optim.SGD(pipeline.parameters(), 0.1), *batch_of("gpt"))
    state = {name: tensor.clone() for name, tensor in pipeline.state_dict().items()}
    pipeline.load_state_dict(model_of().state_dict())
    back = all(torch.equal(t, model_of().state_dict()[n]) for n, t in pipeline.state_dict().items())
    return state, back


def test_the_ranks_state_dicts_together_are_the_serial_models(ranks4: Ranks) -> None:
    import torch
    from pipeline_programs import model_of

    got = ranks4.run(states, schedules.one_f_one_b(4, 2))
    assert all(back for _, back in got)
    whole = {name: torch.as_tensor(tensor) for state, _ in got for name, tensor in state.items()}
    model_of().load_state_dict(whole)  # strict: every name, and no other
    tied = [state[name] for state, _ in got for name in ("tokens.weight", "head.weight") if name in state]
    assert len(tied) == 2 and (tied[0] == tied[1]).all()
    assert len({name for state, _ in got for name in state}) == sum(len(state) for state, _ in got)


def kept_of(schedule) -> set[str]:
    """Which of the model's parameters are still there when nobody holds the model any more."""
    import weakref

    from pipeline_programs import model_of

    from lab_utils.strategies.pipeline import Pipeline

    model = model_of("layers")
    there = {name: weakref.ref(parameter) for name, parameter in model.named_parameters()}
    pipeline = Pipeline(model, schedule)
    own = {name for name, _ in pipeline.named_parameters()}
    del model
    return {name for name, parameter in there.items() if parameter() is not None} ^ own


def test_a_rank_keeps_its_own_stages_only(ranks2: Ranks) -> None:
    assert ranks2.run(kept_of, schedules.interleaved(2, 2)) == [set(), set()]


# ---------------------------------------------------------------------- errors
def breaks(schedule, at: int) -> None:
    """The second stage's module raises at a micro-batch."""
    import torch
    from torch import nn

    from lab_utils.strategies.pipeline import Pipeline

    class Breaks(nn.Module):
        runs = 0

        def forward(self, x):
            self.runs += 1
            if self.runs == at + 1:
                raise ArithmeticError("the numbers ran out")
            return x

    pipeline = Pipeline([nn.Linear(4, 4), Breaks()], schedule, loss_of=nn.functional.mse_loss)
    pipeline.run(torch.ones(8, 4), torch.ones(8, 4))


def test_an_error_names_stage_and_micro_batch_and_frees_the_others(ranks2: Ranks) -> None:
    with pytest.raises(RankError) as caught:
        ranks2.run(breaks, schedules.one_f_one_b(2, 4), 2)
    said = "rank 1 raised StageError: F of micro-batch 2 in stage 1 failed: ArithmeticError: the numbers ran out"
    assert str(caught.value) == said
    assert "in forward" in str(caught.value.details) and "raise ArithmeticError" in str(caught.value.details)
    assert ranks2.run(pipelined, schedules.gpipe(2, 2), "layers")[0]["peak"] == 2


def test_a_schedule_for_other_ranks_is_refused(ranks2: Ranks) -> None:
    with pytest.raises(RankError, match="GPipe is for 3 ranks, and the group has 2"):
        ranks2.run(pipelined, schedules.gpipe(3, 2), "layers")
