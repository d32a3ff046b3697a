"""Mixtures of experts beside their training: bytes, load, biases, state dicts, recompute, bfloat16, bad input."""

from __future__ import annotations

import re

import experts_programs as programs
import numpy as np
import pytest
import torch

from lab_utils.ranks import Ranks
from lab_utils.strategies.mesh import Mesh
from lab_utils.strategies.model.experts import MixtureOfExperts, Router, expert_parallel, measured, update_bias
from lab_utils.strategies.model.experts.router import top

EP = {"dp": 2, "ep": 2}
TOKENS = programs.BATCH * programs.BLOCK
ROW = programs.CHANNELS * 8  # bytes


# ---------------------------------------------------------------------- router
def routed(scores: list[list[float]], **options):
    router = Router(len(scores[0]), len(scores[0]), **options).double()
    with torch.no_grad():
        router.weight.copy_(torch.eye(len(scores[0])))  # the tokens are the logits
    return router, router(torch.tensor(scores, dtype=torch.float64))


def test_weights_of_the_papers() -> None:
    logits = torch.tensor([[0.3, 2.0, -1.0, 1.0]], dtype=torch.float64)
    softmax, sigmoid = logits.softmax(-1), logits.sigmoid()
    _, switch = routed(logits.tolist(), top_k=1)
    _, plain = routed(logits.tolist(), top_k=2, normalise=False)
    _, mixtral = routed(logits.tolist(), top_k=2)
    _, deepseek = routed(logits.tolist(), top_k=2, score="sigmoid")
    assert switch.experts.tolist() == [[1]] and mixtral.experts.tolist() == [[1, 3]]
    torch.testing.assert_close(switch.weights, softmax[:, [1]])
    torch.testing.assert_close(plain.weights, softmax[:, [1, 3]])
    torch.testing.assert_close(mixtral.weights, logits[:, [1, 3]].softmax(-1))  # over the chosen alone
    torch.testing.assert_close(deepseek.weights, sigmoid[:, [1, 3]] / sigmoid[:, [1, 3]].sum())
    for each in (switch, plain, mixtral, deepseek):
        torch.testing.assert_close(each.probabilities.sum(-1), torch.ones(1, dtype=torch.float64))


def test_of_equal_scores_the_lower_number_is_chosen_however_many_tokens_there_are() -> None:
    scores = torch.zeros(300, 64)
    scores[:, 40:] = 1
    assert top(scores, 3).tolist() == [[40, 41, 42]] * 300 and top(scores[:1], 3).tolist() == [[40, 41, 42]]


def test_a_bias_chooses_and_leaves_the_weights_as_they_are() -> None:
    router, before = routed([[3.0, 2.0, 1.0]], top_k=2, biased=True)
    router.bias[2] = 1
    after = router(torch.tensor([[3.0, 2.0, 1.0]], dtype=torch.float64))
    assert before.experts.tolist() == [[0, 1]] and after.experts.tolist() == [[2, 0]]
    torch.testing.assert_close(after.weights, torch.tensor([[1.0, 3.0]], dtype=torch.float64).softmax(-1))


# ---------------------------------------------------------------------- on the ranks
def stepped(degrees, steps: int = 1, **options):
    """Loads of each step, in which biases are updated; then this rank's biases."""
    mesh, model = Mesh(**degrees) if degrees else None, programs.gpt(**programs.WITH_ALL | options)
    if mesh is not None:
        expert_parallel(model, mesh)
    loads = []
    for x, y in programs.batches(steps):
        programs.backward(model, x, y, mesh)
        loads.append(measured(model, mesh))
        if options.get("biased"):
            update_bias(model, loads[-1], rate=0.3)
    biases = [block.mlp.router.bias for block in model.blocks if block.mlp.router.bias is not None]
    return loads, [bias.tolist() for bias in biases]


def test_all_to_alls_send_what_the_formula_says(ranks2: Ranks) -> None:
    """In each layer N k rows go there and back, and their gradients too; and each rank's E counts, once."""
    trace = ranks2.record(stepped, EP)
    sent = [[op.bytes for op in ops if op.name == "all_to_all"] for ops in trace.ops]
    layers, experts, rows = 2, programs.EXPERTS["experts"], TOKENS * programs.EXPERTS["top_k"]
    counts = layers * experts * 8
    assert sum(map(sum, sent)) == layers * 4 * rows * ROW + 2 * counts
    received = [sum(load.by_rank[rank] for load in trace.results[0][0][0]) for rank in range(2)]
    for rank, bytes_of_ops in enumerate(sent):
        assert len(bytes_of_ops) == layers * 5
        assert sum(bytes_of_ops) == 2 * (layers * rows // 2 + received[rank]) * ROW + counts


def test_loads_and_biases_are_those_of_all_ranks(ranks2: Ranks) -> None:
    options = {"biased": True, "capacity_factor": 0.75, "groups": 2}
    loads, biases = stepped(None, 4, **options)
    for found, found_biases in ranks2.run(stepped, EP, 4, **options):
        assert [[(x.chosen, x.dropped, x.capacity) for x in step] for step in found] == [
            [(x.chosen, x.dropped, x.capacity) for x in step] for step in loads
        ]
        assert found_biases == biases and all(load.ep == 2 for step in found for load in step)
    first = loads[0][0]
    assert sum(first.chosen) == TOKENS * 2 and sum(first.dropped) > 0
    assert first.capacity == 2 * 6  # two groups, of each ⌈16 · 2 / 4 · 0.75⌉
    assert max(first.computed) <= first.capacity


def test_biases_alone_balance_the_load() -> None:
    """Experts that were chosen more than the mean lose, the others win; no loss is asked."""
    layer = MixtureOfExperts(4, 8, 4, 1, score="sigmoid", normalise=False, biased=True)
    with torch.no_grad():
        layer.router.weight[0] += 1.0
    x = torch.rand(1, 400, 4, generator=torch.Generator().manual_seed(0))
    found = []
    for _ in range(200):
        layer(x)
        found += measured(layer)
        update_bias(layer, found[-1:], rate=0.01)
    assert max(found[0].chosen) > 380 and max(found[-1].chosen) < 150
    assert layer.router.bias.grad_fn is None and not layer.router.bias.requires_grad


def whole_and_back(degrees) -> tuple[bool, bool, float]:
    """The unsplit state dict from the ranks equals the serial model's, and loads into a split one of another seed."""
    from lab_utils.strategies.model import placement

    mesh, serial = Mesh(**degrees), programs.gpt(**programs.WITH_ALL, biased=True)
    split = expert_parallel(programs.gpt(**programs.WITH_ALL, biased=True), mesh)
    state = placement.state_dict(split, mesh)
    same = state.keys() == serial.state_dict().keys()
    same = same and all(torch.equal(state[name], tensor) for name, tensor in serial.state_dict().items())
    other = {name: tensor + 1 for name, tensor in state.items()}
    placement.load_state_dict(split, other, mesh)
    back = placement.state_dict(split, mesh)
    held = sum(p.numel() for p in split.blocks[0].mlp.experts.parameters())
    whole = sum(p.numel() for p in serial.blocks[0].mlp.experts.parameters())
    return same, all(torch.equal(back[name], tensor) for name, tensor in other.items()), held / whole


def test_state_dicts_go_back_and_forth(ranks4: Ranks) -> None:
    for degrees in ({"dp": 2, "tp": 2, "ep": 2}, {"dp": 4, "ep": 2}):
        part = 1 / (2 * degrees.get("tp", 1))
        assert ranks4.run(whole_and_back, degrees) == [(True, True, part)] * 4


def with_options(how: str, degrees: dict, **split) -> list:
    """Gradients of one backward, split and whole in one process each: recomputed, or in bfloat16."""
    from lab_utils.strategies.mixed_precision import compute_in_bfloat16, recompute
    from lab_utils.strategies.model import placement

    found = []
    for mesh in (None, Mesh(**degrees)):
        model = programs.gpt(**programs.WITH_ALL)
        if how == "bfloat16":
            compute_in_bfloat16(model.float())
        else:
            recompute(model.blocks)
        if mesh is not None:
            programs.split(model, mesh, **split)
        for x, y in programs.batches(1):
            loss = programs.backward(model, x, y, mesh)
        loads = [load.chosen for load in measured(model, mesh)]
        if mesh is not None:
            placement.sum_gradients(model, mesh)
            found.append((placement.snapshot(model, loss, mesh)["gradients"], loads))
        else:
            found.append(({name: p.grad for name, p in model.named_parameters()}, loads))
    return found


EP_TP, ALL_SPLIT = {"dp": 2, "tp": 2, "ep": 2}, {"plan": "GPT_EXPERTS", "sequence": True}


@pytest.mark.parametrize(
    ("how", "tolerance", "degrees", "plan"),
    [("recompute", 1e-10, EP, {}), ("bfloat16", 0.02, EP, {}), ("recompute", 1e-10, EP_TP, ALL_SPLIT)],
)
def test_recompute_and_bfloat16_compose(ranks4: Ranks, ranks2: Ranks, how: str, tolerance, degrees, plan) -> None:
    ranks = ranks2 if degrees == EP else ranks4
    for (whole, loads), (split, split_loads) in ranks.run(with_options, how, degrees, **plan):
        assert loads == split_loads and sum(loads[0]) == TOKENS * 2, "what is recomputed is not counted again"
        for name, gradient in whole.items():
            off = np.abs(split[name] - gradient).max() / np.abs(gradient).max()
            assert off < tolerance, name


# ---------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: MixtureOfExperts(8, 8, 4, 5), "top_k=5 of 4 experts: a token goes to 1 to 4 of them"),
        (lambda: MixtureOfExperts(8, 8, 4, 0), "top_k=0 of 4 experts"),
        (lambda: MixtureOfExperts(8, 8, 4, 1, normalise=True), "so the router would get no gradient"),
        (lambda: MixtureOfExperts(8, 8, 4, 2, score="relu"), "score='relu': an expert's score is"),
        (lambda: MixtureOfExperts(8, 8, 4, 2, activation="relu"), "activation='relu': an expert is"),
        (lambda: MixtureOfExperts(8, 8, 4, 2, capacity_factor=0), "capacity_factor=0: an expert takes"),
        (lambda: MixtureOfExperts(8, 8, 4, 2, capacity_factor=-1.0), "so it is above 0"),
        (
            lambda: MixtureOfExperts(8, 8, 6, 2).split(Mesh(dp=4, ep=4)),
            "6 experts are not divisible by ep = 4: ep can be 1, 2, 3, 6",
        ),
        (
            lambda: MixtureOfExperts(8, 9, 4, 2).split(Mesh(tp=2)),
            "an expert's hidden width of 9 is not divisible by tp = 2: tp can be 1, 3, 9, or over_tp=False",
        ),
        (
            lambda: MixtureOfExperts(8, 8, 4, 2, capacity_factor=1.0, groups=3).split(Mesh(dp=2)),
            "3 dispatch groups are not divisible by dp × cp = 2 ranks, each of which needs whole ones: groups=4",
        ),
        (
            lambda: MixtureOfExperts(8, 8, 4, 2, capacity_factor=1.0, groups=2).split(Mesh(cp=2)),
            "capacity_factor=1.0 drops within groups of whole sequences, and cp = 2 cuts these",
        ),
        (lambda: MixtureOfExperts(8, 8, 4, 2).split(Mesh()).split(Mesh()), "the layer is split already, over pp 1"),
        (lambda: expert_parallel(torch.nn.Linear(2, 2), Mesh()), "this Linear has no MixtureOfExperts"),
        (
            lambda: MixtureOfExperts(8, 8, 4, 2, capacity_factor=1.0, groups=3)(torch.zeros(1, 8, 8)),
            "8 tokens are not divisible into 3 dispatch groups",
        ),
        (lambda: update_bias(layer := MixtureOfExperts(8, 8, 4, 2), measured(layer)), "chooses without a bias"),
    ],
)
def test_what_cannot_be_is_said(make, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        make()


@pytest.mark.parametrize(("options", "said"), [({"balance": 0.0}, "no mixture has a balance loss"), ({}, "no forward")])
def test_a_balance_loss_of_nothing_is_said(options: dict, said: str) -> None:
    from lab_utils.strategies.model.experts import balance_loss

    with pytest.raises(ValueError, match=said):
        balance_loss(programs.gpt(**options))


def test_evaluation_drops_nothing_and_counts_nothing() -> None:
    model = programs.gpt(capacity_factor=0.5, groups=2)
    free = programs.gpt()
    ((x, _),) = programs.batches(1)
    assert not torch.equal(model(x)[0], free(x)[0])
    measured(model)
    assert torch.equal(model.eval()(x)[0], free.eval()(x)[0])
    assert model.generate(x[:1, :3], 2, temperature=0).shape == (1, 5)
    assert sum(measured(model)[0].chosen) == 0
