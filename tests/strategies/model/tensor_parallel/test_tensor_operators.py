"""Each operator's backward is the transpose of its forward; what does not divide is said."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tensor_programs import gpt, grouped, grouped_plan

from lab_utils.ranks import Ranks
from lab_utils.strategies.mesh import Mesh
from lab_utils.strategies.model.tensor_parallel import wire
from lab_utils.timeline.simulator.sent_bytes import sent_bytes

SHAPE, PART = (2, 8, 3), (2, 4, 3)


def numbers(rank: int, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """What a rank holds; rank -1: what all ranks hold."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(100 * seed + rank + 1), dtype=torch.float64)


def joined(seed: int) -> torch.Tensor:
    return torch.cat([numbers(rank, PART, seed) for rank in range(2)], 1)


def summed(seed: int) -> torch.Tensor:
    return sum(numbers(rank, SHAPE, seed) for rank in range(2))


def part(whole: torch.Tensor, rank: int) -> torch.Tensor:
    return whole.chunk(2, 1)[rank]


# name: x and dy of a rank, the y and dx that it must get
OPERATORS = {
    "copy": lambda r: (numbers(-1, SHAPE, 0), numbers(r, SHAPE, 1), numbers(-1, SHAPE, 0), summed(1)),
    "reduce": lambda r: (numbers(r, SHAPE, 0), numbers(-1, SHAPE, 1), summed(0), numbers(-1, SHAPE, 1)),
    "gather_tokens": lambda r: (numbers(r, PART, 0), numbers(r, SHAPE, 1), joined(0), part(summed(1), r)),
    "reduce_scatter": lambda r: (numbers(r, SHAPE, 0), numbers(r, PART, 1), part(summed(0), r), joined(1)),
    "scatter": lambda r: (numbers(-1, SHAPE, 0), numbers(r, PART, 1), part(numbers(-1, SHAPE, 0), r), joined(1)),
    "gather": lambda r: (numbers(r, PART, 0), numbers(-1, SHAPE, 1), joined(0), part(numbers(-1, SHAPE, 1), r)),
}


def test_backward_is_the_transpose_of_forward(ranks2: Ranks) -> None:
    def apply_each() -> dict:
        from lab_utils.strategies.model import tensor_parallel

        mesh, found = Mesh(tp=2), {}
        for name, given in OPERATORS.items():
            x, dy, *_ = given(mesh.mine["tp"])
            y = getattr(tensor_parallel, name)(x.requires_grad_(), mesh.group("tp"))
            y.backward(dy)
            found[name] = y.detach(), x.grad
        return found

    for rank, found in enumerate(ranks2.run(apply_each)):
        for name, (y, dx) in found.items():
            _, _, right_y, right_dx = OPERATORS[name](rank)
            assert np.allclose(y, right_y, rtol=1e-14) and np.allclose(dx, right_dx, rtol=1e-14), name


def test_as_matrices_on_all_ranks_they_are_each_others_transpose(ranks2: Ranks) -> None:
    def probed() -> dict:
        from lab_utils.strategies.model import tensor_parallel
        from lab_utils.strategies.model.tensor_parallel.derivation import ONCE, matrices

        group = Mesh(tp=2).group("tp")
        return {name: matrices(getattr(tensor_parallel, name), group, (2, 1), once) for name, once in ONCE.items()}

    one = np.eye(2)
    wanted = {
        "copy": np.vstack((one, one)),
        "reduce": np.hstack((one, one)),
        "gather_tokens": np.vstack((np.eye(4), np.eye(4))),
        "reduce_scatter": np.hstack((one, one)),
        "scatter": one,
        "gather": np.eye(4),
    }
    for found in ranks2.run(probed):
        for name, (forward, backward) in found.items():
            assert np.array_equal(forward, wanted[name]), name
            assert np.array_equal(backward, forward.T), name


@pytest.fixture
def formed2(ranks2: Ranks) -> Ranks:
    """Two ranks whose groups are formed, so that a recording has nothing of that."""
    ranks2.run(lambda: Mesh(tp=2).group("tp").size())
    return ranks2


def test_the_input_gradient_is_on_its_way_while_the_weight_gradients_are_computed(formed2: Ranks) -> None:
    """By the order of ops: all-reduce issued, then the kernels of dW, then the wait; and one for query, key, value."""

    def forward_and_backward() -> None:
        from lab_utils.strategies.model.tensor_parallel import ColumnLinear
        from lab_utils.strategies.model.tensor_parallel.linear import SharedInput

        mesh, together = Mesh(tp=2), SharedInput()
        layers = [ColumnLinear(torch.nn.Parameter(torch.ones(5, 8)), None, mesh, together=together) for _ in range(3)]
        x = torch.ones(2, 4, 8, requires_grad=True)
        (layers[0](x) * layers[1](x) * layers[2](x)).sum().backward()

    flops = 2 * (2 * 4) * 5 * 8  # of one product
    for ops in formed2.record(forward_and_backward).ops:
        (issued,) = (at for at, op in enumerate(ops) if op.kind == "collective")
        waited = next(at for at, op in enumerate(ops) if op.kind == "wait" and op.of == issued)
        between = [op for op in ops[issued + 1 : waited] if op.kind == "compute"]
        before = [op for op in ops[:issued] if op.kind == "compute"]
        assert ops[issued].asynchronous
        assert sum(op.flops for op in before) == 6 * flops, "three forward, three of dX"
        assert sum(op.flops for op in between) == 3 * flops, "three of dW"


@pytest.mark.parametrize("sequence", [False, True], ids=["", "sequence"])
def test_a_step_sends_what_the_formula_says(formed2: Ranks, sequence: bool) -> None:
    def step() -> int:
        from lab_utils.strategies.model.placement import placement, sum_gradients
        from lab_utils.strategies.model.tensor_parallel import plans, split

        mesh = Mesh(tp=2)
        model = split(gpt(vocabulary=64), plans.GPT, mesh, sequence)
        x = torch.arange(32).view(4, 8)
        model(x, x)[1].backward()
        sum_gradients(model, mesh)
        return sum(p.numel() for p in model.parameters() if "tp" in placement(p).partial)

    trace = formed2.record(step)
    partial = trace.results[0]
    assert partial == (0 if not sequence else 5 * 2 * 16 + 2 * 2 * 16 + 8 * 16)  # norms, biases, positions
    sent = wire.activations_sent(layers=2, batch=4, tokens=8, channels=16, tp=2, sequence=sequence)
    sent += wire.loss_sent(4, 8, 2) + wire.gradients_sent(partial, 2)
    assert sent_bytes(trace).tolist() == [8 * sent] * 2


# ---------------------------------------------------------------------- what cannot be split
def complaint(make, plan, mesh: Mesh, **changes) -> str:
    from lab_utils.strategies.model.tensor_parallel import split

    with pytest.raises(ValueError) as told:
        split(make(**changes), plan, mesh)
    return str(told.value)


@pytest.fixture
def as_rank_0(monkeypatch: pytest.MonkeyPatch) -> None:
    """A split asks for nothing of other ranks, so it needs none to run."""
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)


@pytest.mark.usefixtures("as_rank_0")
def test_sizes_that_do_not_divide_say_what_would() -> None:
    from lab_utils.strategies.model.tensor_parallel import Column, Row, Vocabulary, plans

    assert complaint(gpt, plans.GPT, Mesh(tp=3), vocabulary=2) == (
        "tokens (Embedding) has a vocabulary of 2, too few for tp = 3: tp can be at most 2"
    )
    assert complaint(gpt, plans.GPT, Mesh(tp=8)) == (
        "blocks.0.attention.query (Linear) has 4 heads, which cannot be shared out over tp = 8: tp can be 1, 2, 4"
    )
    assert complaint(grouped, grouped_plan(), Mesh(tp=4), kv_heads=3) == (
        "query (Linear) has 4 heads and 3 KV heads, which cannot be shared out over tp = 4: tp can be 1"
    )
    layer = torch.nn.ModuleDict({"up": torch.nn.Linear(6, 10), "down": torch.nn.Linear(10, 6)})
    for plan, said in (
        ({"up": Column(), "down": Row()}, "up (Linear) has 10 outputs, which tp = 4 does not divide: tp can be 1, 2"),
        ({"up": Row(), "down": Row()}, "up (Linear) has 6 inputs, which tp = 4 does not divide: tp can be 1, 2, 3, 6"),
        ({"up": Vocabulary()}, "the plan does not say how to split down (Linear): TokenByToken() leaves a module"),
        ({"up": Column(), "down": Row(), "mlp.*": Row()}, "the plan's 'mlp.*' names no module of this ModuleDict"),
    ):  # fmt: skip
        assert complaint(lambda: layer, plan, Mesh(tp=4)).startswith(said)


@pytest.mark.usefixtures("as_rank_0")
def test_a_module_that_cannot_be_split_is_named() -> None:
    from lab_utils.strategies.model.tensor_parallel import Column, Dropout, Heads, NoDropout, Row, Vocabulary

    attention = torch.nn.ModuleDict({"q": torch.nn.Linear(4, 10)})
    attention.width = 4
    conv, dropout = torch.nn.Conv2d(4, 4, 1), torch.nn.Dropout(0.5)
    for model, plan, said in (
        ({"c": conv}, {"c": Column()}, "c (Conv2d) is no linear layer: Column() splits nn.Linear and tr"),
        ({"c": conv}, {"c": Row()}, "c (Conv2d) is no linear layer: Row() splits"),
        ({"c": conv}, {"c": Dropout()}, "c (Conv2d) is no nn.Dropout"),
        ({"e": torch.nn.Embedding(8, 4, max_norm=1.0)}, {"e": Vocabulary()}, "e (Embedding) has max_norm=1.0, which"),
        ({"a": attention}, {"a.q": Heads("width")}, "a.q (Linear) has 10 outputs, which are not 1 × heads of width 4"),
        ({"d": dropout}, {"d": NoDropout()}, "d (Dropout) has p = 0.5, which the model draws inside of its attention"),
    ):
        assert complaint(torch.nn.ModuleDict, plan, Mesh(tp=2), modules=model).startswith(said)


@pytest.mark.usefixtures("as_rank_0")
def test_an_attention_over_cp_is_not_overwritten() -> None:
    from lab_utils.strategies.model.tensor_parallel import HeadDropout

    attention = torch.nn.ModuleDict({"q": torch.nn.Linear(4, 4)})
    attention.attend = max
    said = complaint(
        torch.nn.ModuleDict, {"a": HeadDropout(), "a.q": HeadDropout()}, Mesh(tp=2), modules={"a": attention}
    )
    assert said == "a (ModuleDict) has an attention of its own already: split first, then context_parallel"


@pytest.mark.usefixtures("as_rank_0")
def test_a_tied_weight_is_cut_in_one_way() -> None:
    from lab_utils.strategies.model.tensor_parallel import Row, Vocabulary

    plan = {"tokens": Vocabulary(), "head": Row()}
    model = torch.nn.ModuleDict({"tokens": torch.nn.Embedding(8, 4), "head": torch.nn.Linear(4, 8, bias=False)})
    model["head"].weight = model["tokens"].weight
    assert complaint(lambda: model, plan, Mesh(tp=2)).startswith("a tied weight [8, 4] is split as ")


def test_lengths_and_targets_that_do_not_fit_are_said(ranks2: Ranks) -> None:
    def said() -> list[str]:
        from lab_utils.strategies.model.tensor_parallel import plans, split

        model, found = split(gpt(), plans.GPT, Mesh(tp=2), sequence=True), []
        for ids, targets in ((torch.zeros(1, 7), torch.zeros(1, 7)), (torch.zeros(1, 8), torch.full((1, 8), 61))):
            with pytest.raises(ValueError) as told:
                model(ids.long(), targets.long())
            found.append(str(told.value))
        return found

    for length, target in ranks2.run(said):
        assert length.startswith("7 tokens are not divisible by tp = 2, and sequence parallelism cuts them into equal ")
        assert length.endswith("6 or 8 would fit")
        assert target == "target 61 is no token: a vocabulary of 61 has 0 to 60"
