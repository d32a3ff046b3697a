"""The silent bugs of tensor parallelism, each planted, with the value that tells it."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tensor_programs import VOCABULARY, gpt, grouped, grouped_plan, train, train_serially

from lab_utils.ranks import Ranks
from lab_utils.strategies.mesh import Mesh

TP = Mesh(tp=2)
serially = cache(train_serially)


def linear(bias: float = 0.0):
    """X [3, 4], W [6, 4] and b [6], of which halves are whole columns and rows."""
    draw = torch.Generator().manual_seed(0)
    x, w = (torch.randn(*shape, generator=draw, dtype=torch.float64) for shape in ((3, 4), (6, 4)))
    return x.requires_grad_(), w, torch.full((6,), bias, dtype=torch.float64, requires_grad=True)


def one_step(ranks: Ranks, sequence: bool = False, attach=None, **changes) -> list[dict]:
    return ranks.run(train, Mesh(tp=ranks.size), sequence, steps=1, max_norm=None, attach=attach, **changes)


def test_trap_1_without_f_the_input_gradients_are_parts_of_their_sum(ranks2: Ranks) -> None:
    def both():
        from lab_utils.strategies.model.tensor_parallel import copy

        found = []
        for f in (lambda x, group: x, copy):
            x, w, _ = linear()
            y = F.linear(f(x, TP.group("tp")), w.chunk(2)[TP.mine["tp"]])
            y.square().sum().backward()
            found += [y.detach(), x.grad]
        return found

    x, w, _ = linear()
    F.linear(x, w).square().sum().backward()
    (y0, part0, right_y0, right0), (_, part1, _, right1) = ranks2.run(both)
    assert np.array_equal(y0, right_y0), "the forward shows nothing"
    assert not np.allclose(part0, x.grad) and not np.allclose(part1, x.grad)
    assert np.allclose(part0 + part1, x.grad, rtol=1e-12)
    assert np.allclose(right0, x.grad, rtol=1e-12) and np.array_equal(right0, right1)


def test_trap_2_an_all_reduce_in_both_directions_hands_on_tp_times_the_gradient(ranks2: Ranks) -> None:
    def both():
        from lab_utils.strategies.model.tensor_parallel import copy, reduce

        found = []
        for g in (lambda x, group: copy(reduce(x, group), group), reduce):
            x, w, _ = linear()
            mine = x.detach().chunk(2, 1)[TP.mine["tp"]].clone().requires_grad_()
            y = g(F.linear(mine, w.chunk(2, 1)[TP.mine["tp"]]), TP.group("tp"))
            y.square().sum().backward()
            found += [y.detach(), mine.grad]
        return found

    x, w, _ = linear()
    F.linear(x, w).square().sum().backward()
    for rank, (y, wrong, right_y, right) in enumerate(ranks2.run(both)):
        assert np.array_equal(y, right_y)
        assert np.array_equal(wrong, 2 * right)
        assert np.allclose(right, x.grad.chunk(2, 1)[rank], rtol=1e-12)


def row_layers():
    """The bias added before the sum, a part of it before the sum, and a RowLinear: y, and the bias's gradient."""
    from lab_utils.strategies.model.tensor_parallel import RowLinear, reduce

    x, w, b = linear(bias=0.5)
    mine, part = (each.detach().chunk(2, 1)[TP.mine["tp"]] for each in (x, w))
    layer = RowLinear(torch.nn.Parameter(part), torch.nn.Parameter(b.detach()), TP)
    before = reduce(F.linear(mine, part, b), TP.group("tp")).detach()
    divided, right = reduce(F.linear(mine, part, b / 2), TP.group("tp")), layer(mine)
    (divided.sum() + right.sum()).backward()
    return before, (divided.detach(), b.grad), (right.detach(), layer.bias.grad)


def whole_linear():
    x, w, b = linear(bias=0.5)
    y = F.linear(x, w, b)
    y.sum().backward()
    return y.detach().numpy(), b.grad.numpy()


def test_trap_3_a_row_layers_bias_added_before_the_sum_is_tp_times_there(ranks2: Ranks) -> None:
    reference, gradient = whole_linear()
    for before, _, (right, its_gradient) in ranks2.run(row_layers):
        assert np.allclose(before - reference, (2 - 1) * 0.5, rtol=1e-12), "(tp - 1) · b"
        assert np.allclose(right, reference, rtol=1e-12) and np.array_equal(its_gradient, gradient)


def test_trap_4_a_tp_th_of_the_bias_before_the_sum_gets_a_tp_th_of_its_gradient(ranks2: Ranks) -> None:
    reference, gradient = whole_linear()
    for _, (divided, its_gradient), _ in ranks2.run(row_layers):
        assert np.allclose(divided, reference, rtol=1e-12), "the forward shows nothing"
        assert np.array_equal(its_gradient, gradient / 2)


def left_partial(model) -> None:
    """Plant: the gradients of what all ranks hold are not summed over tp."""
    from lab_utils.strategies.model.placement import place, placement

    for parameter in model.parameters():
        place(parameter, *placement(parameter).shards)


def test_trap_5_norm_weights_under_sequence_parallelism_are_summed(ranks2: Ranks) -> None:
    serial = serially(steps=1, max_norm=None)["gradients"]
    wrong = one_step(ranks2, sequence=True, attach=left_partial)
    right = one_step(ranks2, sequence=True)
    for name in ("norm.weight", "blocks.0.norm1.bias", "blocks.1.attention.out.bias", "positions.weight"):
        parts = [each["gradients"][name] for each in wrong]
        assert not any(np.allclose(part, serial[name], rtol=1e-3) for part in parts)
        assert np.allclose(sum(parts), serial[name], rtol=1e-10), "so a mean would be 1 / tp of it"
        assert all(np.allclose(each["gradients"][name], serial[name], rtol=1e-10) for each in right)
    assert all(each["loss"] == pytest.approx(right[0]["loss"], rel=1e-12) for each in wrong), "the loss shows nothing"


def test_trap_6_norms_of_queries_and_keys_are_summed_without_sequence_parallelism_too(ranks2: Ranks) -> None:
    changes = {"make": grouped, "kv_heads": 2}
    serial = serially(steps=1, max_norm=None, **changes)["gradients"]
    wrong = one_step(ranks2, attach=left_partial, plan=grouped_plan, **changes)
    right = one_step(ranks2, plan=grouped_plan, **changes)
    for name in ("query_norm.weight", "key_norm.weight"):
        parts = [each["gradients"][name] for each in wrong]
        assert not any(np.allclose(part, serial[name], rtol=1e-3) for part in parts)
        assert np.allclose(sum(parts), serial[name], rtol=1e-10)
        assert all(np.allclose(each["gradients"][name], serial[name], rtol=1e-10) for each in right)


def test_trap_7_the_gradient_of_a_shared_kv_head_is_summed_over_its_ranks(ranks2: Ranks) -> None:
    """In the thread the loss was 3.741 without and 2.640 with, 2.642 at tp = 1; here the ranks' copies part."""

    def unshared(model) -> None:
        from lab_utils.strategies.model.placement import place

        for layer in (model.key, model.value):
            for parameter in layer.parameters():
                place(parameter)

    changes = {"make": grouped, "kv_heads": 1}
    serial = serially(steps=1, max_norm=None, **changes)
    wrong = one_step(ranks2, attach=unshared, plan=grouped_plan, **changes)
    for name in ("key.weight", "value.weight"):
        parts = [each["gradients"][name] for each in wrong]
        assert not any(np.allclose(part, serial["gradients"][name], rtol=1e-3) for part in parts)
        assert np.allclose(sum(parts), serial["gradients"][name], rtol=1e-10)
    trained = serially(steps=4, max_norm=None, **changes)["loss"]
    losses = [
        ranks2.run(train, TP, False, steps=4, max_norm=None, attach=attach, plan=grouped_plan, **changes)[0]["loss"]
        for attach in (unshared, None)
    ]
    assert losses[1] == pytest.approx(trained, rel=1e-10) and abs(losses[0] - trained) > 1e-4


def test_trap_8_rank_r_reads_kv_head_r_kv_by_tp() -> None:
    from lab_utils.strategies.model.placement import Shard

    shard, mesh = Shard("tp", 0, (2 * 6,), pieces=2), Mesh(tp=8)
    heads = [shard.index(mesh, {"tp": rank}).tolist() for rank in range(8)]
    assert heads == [list(range(6))] * 4 + [list(range(6, 12))] * 4, "not rank modulo kv, and not 1 · 8 heads"


def test_trap_9_smoothing_padding_and_targets_of_the_other_rank_as_in_the_whole_vocabulary(ranks2: Ranks) -> None:
    def losses():
        from lab_utils.strategies.model.tensor_parallel import cross_entropy

        logits, targets = logits_and_targets()
        rank, real = TP.mine["tp"], VOCABULARY
        padded = F.pad(logits, (0, 3), value=9.0)  # 64 columns, of which 61 are tokens
        mine = padded.chunk(2, -1)[rank].clone().requires_grad_()
        found = []
        for smoothing in (0.0, 0.1):
            mine.grad = None
            loss = cross_entropy(mine, targets, TP, 64, real=real, label_smoothing=smoothing)
            loss.backward()
            found += [loss.detach(), mine.grad]
        uneven = cross_entropy(logits.tensor_split([30], -1)[rank], targets, TP, real)  # ⌊61 / 2⌋ = 30 and 31
        return *found, uneven

    logits, targets = logits_and_targets()
    for rank, (loss, gradient, smoothed, its_gradient, uneven) in enumerate(ranks2.run(losses)):
        for value, found, smoothing in ((loss, gradient, 0.0), (smoothed, its_gradient, 0.1)):
            whole = logits.clone().requires_grad_()
            expected = F.cross_entropy(whole.flatten(0, 1), targets.flatten(), label_smoothing=smoothing)
            expected.backward()
            assert value == pytest.approx(expected.item(), rel=1e-13)
            assert np.allclose(found, F.pad(whole.grad, (0, 3)).chunk(2, -1)[rank], rtol=1e-10, atol=1e-16)
        assert uneven == pytest.approx(F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item(), rel=1e-13)


def test_trap_9_of_gathered_logits_the_loss_is_ln_tp_more(ranks2: Ranks) -> None:
    def gathered() -> float:
        """Each rank has all columns, as after a gather, and counts them as its own; a target is on the first only."""
        from lab_utils.strategies.model.tensor_parallel.vocabulary import _CrossEntropy

        logits, targets = logits_and_targets()
        first = 2 * VOCABULARY * TP.mine["tp"]
        tokens, group = VOCABULARY, TP.group("tp")
        losses = _CrossEntropy.apply(logits.flatten(0, 1), targets.flatten(), first, tokens, tokens, 0.0, -100, group)
        return losses.sum().item()

    logits, targets = logits_and_targets()
    right = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum").item()
    for found in ranks2.run(gathered):
        assert (found - right) / 9 == pytest.approx(math.log(2), rel=1e-12), "0.693 for each of 9 targets that count"


def logits_and_targets():
    draw = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 5, VOCABULARY, generator=draw, dtype=torch.float64) * 3
    targets = torch.randint(VOCABULARY, (2, 5), generator=draw)
    targets[0, 1] = -100
    targets[1, :2] = torch.tensor([29, 30])  # the last of one rank and the first of the other
    return logits, targets


def test_trap_10_what_all_ranks_hold_counts_once_in_the_norm(ranks4: Ranks) -> None:
    """Two ranks of dp and two of tp: counted on each rank the norm's square would have replicas four times."""

    def norms():
        from lab_utils.strategies.model import placement
        from lab_utils.strategies.model.placement import Shard, place

        mesh = Mesh(dp=2, tp=2)
        model = torch.nn.ParameterDict({"whole": torch.zeros(4), "cut": torch.zeros(6)})
        place(model["cut"], Shard("tp", 0, (12,)))
        for parameter in model.values():
            parameter.grad = torch.ones_like(parameter)
        norm = placement.clip(model, 2.0, mesh)
        return norm.item(), model["whole"].grad[0].item()

    for norm, gradient in ranks4.run(norms):
        assert norm == pytest.approx(math.sqrt(4 + 12)), "not √(4·4 + 4·6) = √40 as every rank's sum would be"
        assert gradient == pytest.approx(2 / 4, rel=1e-6), "and the gradients are really scaled"


def test_trap_11_masks_agree_where_activations_do_and_differ_where_they_are_cut(ranks4: Ranks) -> None:
    def masks():
        from lab_utils.strategies.model.tensor_parallel.dropout import mask

        mesh, like = Mesh(dp=2, tp=2), torch.empty(2, 4, 8)
        torch.manual_seed(0)
        replicated = mask(like, 0.5, mesh, {0: ("dp",), 1: ("cp",)})
        tokens = mask(like[:, :2], 0.5, mesh, {0: ("dp",), 1: ("cp", "tp")})
        heads = mask(torch.empty(2, 1, 4, 4), 0.5, mesh, {0: ("dp",), 1: ("tp",)})
        return replicated, tokens, heads

    torch.manual_seed(0)
    whole = [F.dropout(torch.ones(*shape), 0.5) for shape in ((4, 4, 8), (4, 4, 8), (4, 2, 4, 4))]
    for rank, (replicated, tokens, heads) in enumerate(ranks4.run(masks)):
        dp, tp = divmod(rank, 2)
        assert np.array_equal(replicated, whole[0].chunk(2)[dp]), "equal inside tp, different over dp"
        assert np.array_equal(tokens, whole[1].chunk(2)[dp].chunk(2, 1)[tp]), "different over sequence parallel ranks"
        assert np.array_equal(heads, whole[2].chunk(2)[dp].chunk(2, 1)[tp]), "different for each head"


def test_trap_11_unequal_random_states_are_said_at_the_first_step(ranks2: Ranks) -> None:
    def unequal() -> str:
        from lab_utils.strategies.model.tensor_parallel import plans, split

        model = split(gpt(dropout=0.1), plans.GPT, TP)
        torch.manual_seed(TP.mine["tp"])
        with pytest.raises(ValueError, match="torch.manual_seed with the same seed on all ranks") as told:
            model(torch.zeros(1, 4, dtype=torch.int64), torch.zeros(1, 4, dtype=torch.int64))
        return str(told.value)

    assert all("the random states of the 2 ranks of tp differ" in said for said in ranks2.run(unequal))
