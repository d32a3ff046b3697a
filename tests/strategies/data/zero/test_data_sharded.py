"""What ZeRO's stages hold, send, clip, save and load."""

from __future__ import annotations

from pathlib import Path

import data_programs
import pytest

from lab_utils.ranks import RankError, Ranks
from lab_utils.strategies.parity import parity

STAGES = ("zero1", "zero2", "zero3")


def two_steps(strategy: str) -> dict[str, int]:
    """Bytes: of parameters, padded as this strategy does; and what this rank holds between two steps."""
    import torch.distributed as dist

    from lab_utils.comm import phase

    model, optimizer, attached = data_programs.make(strategy, dist.group.WORLD, seed=0)
    for x, y in data_programs.batches(2):
        with phase("a step"):
            data_programs.step(model, optimizer, attached, x, y, dist.group.WORLD)
    return held(model, optimizer, attached)


def held(model, optimizer, attached) -> dict[str, int]:
    """Storages, each once."""

    def stored(tensors) -> int:
        return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())

    flats = attached.flats
    return {
        "padded": sum(flat.bucket.flat.nbytes for flat in flats),
        "units": sum(flat.bucket.flat.nbytes for flat in flats if flat.names[0].startswith("blocks")),
        "parameters": stored([*(p for p in model.parameters() if p.requires_grad), *(flat.piece for flat in flats)]),
        "gradients": stored([*(flat.bucket.flat for flat in flats), *(flat.piece.grad for flat in flats)]),
        "state": stored(v for each in optimizer.state.values() for v in each.values() if v.dim()),
    }


@pytest.fixture(scope="module", params=[2, 4])
def ranks(request: pytest.FixtureRequest) -> Ranks:
    return request.getfixturevalue(f"ranks{request.param}")


# In parts of the padded parameters' bytes: n ranks hold 1 or 1/n of them (Rajbhandari et al. 2020, figure 1).
HOLDS = {"zero1": (1, 1), "zero2": (1, 0), "zero3": (0, 0)}


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_holds_what_the_paper_says(ranks: Ranks, stage: str) -> None:
    for found in ranks.run(two_steps, stage):
        piece = found["padded"] // ranks.size
        parameters, gradients = HOLDS[stage]
        assert found["parameters"] == (found["padded"] if parameters else piece)
        assert found["gradients"] == (found["padded"] if gradients else piece)
        assert found["state"] == 2 * piece


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_sends_what_the_paper_says(ranks: Ranks, stage: str) -> None:
    """A reduce-scatter and an all-gather of all parameters; stage 3 gathers units once more, for the backward."""
    trace = ranks.record(two_steps, stage)
    found = trace.results[0]
    for ops in trace.ops:
        bytes_of = {"all_gather": 0, "reduce_scatter": 0}
        for op in ops:
            name = op.name.removesuffix("_single")
            if op.kind == "collective" and name in bytes_of:
                bytes_of[name] += op.bytes
        assert bytes_of["reduce_scatter"] == 2 * found["padded"]
        again = found["units"] if stage == "zero3" else 0
        brought = bytes_of["all_gather"]  # an op's bytes are those of this rank's piece
        assert ranks.size * brought == 2 * (found["padded"] + again)


def clipped(stage: str) -> tuple[list[float], list[float]]:
    """The norm, and the parameters' norm after the step: by pieces, and by torch on whole gradients."""
    import torch
    import torch.distributed as dist

    from lab_utils.strategies.clipping import clip
    from lab_utils.strategies.data.gradient_accumulation import accumulate

    found = []
    for strategy in (stage, "buckets"):
        model, optimizer, attached = data_programs.make(strategy, dist.group.WORLD, seed=0)
        ((x, y),) = data_programs.batches(1)
        accumulate(model, [[each.tensor_split(dist.get_world_size())[dist.get_rank()] for each in (x, y)]])
        if strategy == stage:
            norm = clip([flat.piece for flat in attached.flats], 0.01)
        else:
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        optimizer.step()
        state = attached.state_dict() if hasattr(attached, "state_dict") else model.state_dict()
        found.append([norm.item(), torch.stack([each.norm() for each in state.values()]).norm().item()])
    return tuple(found)


@pytest.mark.parametrize("stage", STAGES)
def test_gradients_are_clipped_by_their_norm_over_all_ranks(ranks4: Ranks, stage: str) -> None:
    for pieces, whole in ranks4.run(clipped, stage):
        assert pieces == pytest.approx(whole, rel=1e-12)
        assert pieces[0] > 0.01


def saved(stage: str, ranks: int, folder: str) -> None:
    """Two steps on so many ranks, saved."""
    _trained(stage, ranks, 2, save_to=folder)


def gone_on(stage: str, ranks: int, folder: str) -> dict | None:
    """Another model, loaded, and the two steps that follow."""
    return _trained(stage, ranks, 4, load_from=folder)


def _trained(stage: str, ranks: int, steps: int, save_to: str = "", load_from: str = "") -> dict | None:
    import torch.distributed as dist

    from lab_utils.strategies.data.zero import checkpoint

    group = dist.new_group(list(range(ranks)))
    if dist.get_rank() >= ranks:
        return None
    model, optimizer, attached = data_programs.make(stage, group, seed=5 if load_from else 0)
    batches = list(data_programs.batches(steps))
    if load_from:
        checkpoint.load(load_from, attached)
        batches = batches[2:]
    for x, y in batches:
        loss = data_programs.step(model, optimizer, attached, x, y, group)
    if save_to:
        checkpoint.save(save_to, attached)
    return data_programs.rank_state(model, attached, loss, group)


@pytest.mark.parametrize(("stage", "then"), [("zero1", "zero3"), ("zero2", "zero1"), ("zero3", "zero2")])
@pytest.mark.parametrize("ranks", [(4, 3), (2, 4)], ids=["4 to 3", "2 to 4"])
def test_training_goes_on_from_files_on_other_ranks_and_stages(
    ranks4: Ranks, tmp_path: Path, stage: str, then: str, ranks: tuple[int, int]
) -> None:
    ranks4.run(saved, stage, ranks[0], str(tmp_path))
    found = ranks4.run(gone_on, then, ranks[1], str(tmp_path))[: ranks[1]]
    serial = ranks4.run(data_programs.train, "serial", 1, 4)[0]
    assert parity(serial, found, tolerance=1e-10).equal, parity(serial, found)


def as_serial(folder: str) -> list[float]:
    """Files of 3 ranks, put together, against the model and optimizer of serial training: largest differences."""
    import torch

    from lab_utils.strategies.data.zero import checkpoint

    model, optimizer, _ = data_programs.make("serial", None, seed=0)
    for x, y in data_programs.batches(2):
        optimizer.zero_grad()
        model(x, y)[1].backward()
        optimizer.step()
    found, off = checkpoint.whole(folder), []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        expected = {"parameter": parameter, **optimizer.state[parameter]}
        assert found[name].keys() == expected.keys()
        off += [(found[name][key] - value.detach().flatten()).abs().max() for key, value in expected.items()]
    return torch.stack(off).max().item()


def test_files_put_together_are_what_serial_training_has(ranks4: Ranks, tmp_path: Path) -> None:
    ranks4.run(saved, "zero3", 3, str(tmp_path))
    assert ranks4.run(as_serial, str(tmp_path))[0] < 1e-12


def test_a_file_that_is_missing_is_told(ranks4: Ranks, tmp_path: Path) -> None:
    ranks4.run(saved, "zero2", 3, str(tmp_path))
    (tmp_path / "1.pt").unlink()
    with pytest.raises(RankError, match="was saved by 3 ranks, and 2 of their files are there"):
        ranks4.run(gone_on, "zero2", 4, str(tmp_path))
    with pytest.raises(RankError, match="holds no saved pieces"):
        ranks4.run(gone_on, "zero2", 4, str(tmp_path / "nowhere"))


def refused(what: str) -> None:
    import torch
    import torch.distributed as dist
    from torch import nn

    from lab_utils.strategies.data.zero.zero1_and_zero2 import ShardedOptimizer

    model = nn.Linear(2, 2)
    optimizer = {"Muon": torch.optim.Muon, "begun": torch.optim.Adam, "other": torch.optim.Adam}[what]
    weights = [model.weight] if what != "begun" else model.parameters()
    optimizer = optimizer(weights, lr=0.1)
    if what == "begun":
        model(torch.ones(2)).sum().backward()
        optimizer.step()
    if what == "Muon":
        model.bias.requires_grad_(False)
    ShardedOptimizer(model, optimizer, group=dist.group.WORLD)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("Muon", "Muon needs whole tensors"),
        ("begun", "this Adam has made steps"),
        ("other", "the optimizer does not update bias"),
    ],
)
def test_what_cannot_be_sharded_is_refused(ranks2: Ranks, what: str, says: str) -> None:
    with pytest.raises(RankError, match=says):
        ranks2.run(refused, what)
