"""The GPT: shapes, causality, exact gradients, counts that equal what torch counts."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from gpt_flops import flops_per_token
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lab_utils.gpt import GPT, GPTConfig

TINY = GPTConfig(vocabulary=11, block=8, layers=2, channels=12, heads=3)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tensors this small gain nothing from threads, which lose much by waiting for each other on busy cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def build(config: GPTConfig = TINY, dtype: torch.dtype = torch.float64) -> GPT:
    torch.manual_seed(0)
    return GPT(config).to(dtype)


def text(config: GPTConfig = TINY, batch: int = 2, time: int | None = None) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(config.vocabulary, (batch, (time or config.block) + 1), generator=generator)
    return ids[:, :-1], ids[:, 1:]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("time", [1, 5, 8])
def test_shapes_and_dtypes(dtype, time):
    x, y = text(time=time)
    model = build(dtype=dtype)
    logits, loss = model(x, y)
    assert logits.shape == (2, time, 11) and logits.dtype == dtype
    assert loss.shape == () and loss.dtype == torch.promote_types(dtype, torch.float32)
    assert model(x)[1] is None
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_bfloat16_is_close_to_float64():
    x, y = text()
    exact, rough = build()(x, y)[1].item(), build(dtype=torch.bfloat16)(x, y)[1].item()
    assert rough == pytest.approx(exact, rel=0.01) and rough != exact


def test_the_same_seed_builds_the_same_model():
    for a, b in zip(build().parameters(), build().parameters(), strict=True):
        assert torch.equal(a, b)


def test_an_untrained_model_knows_nothing():
    config = replace(TINY, vocabulary=256, channels=96)
    x, y = text(config, batch=64)
    assert build(config)(x, y)[1].item() == pytest.approx(math.log(256), abs=0.3)


@pytest.mark.parametrize("at", range(1, TINY.block))
def test_a_later_token_does_not_change_earlier_logits(at):
    model, (x, _) = build(), text()
    changed = x.clone()
    changed[:, at] = (changed[:, at] + 1) % TINY.vocabulary
    before, after = model(x)[0], model(changed)[0]
    torch.testing.assert_close(before[:, :at], after[:, :at], rtol=0, atol=1e-14)
    assert (before[:, at:] - after[:, at:]).abs().amax(-1).min() > 1e-6  # and every later one sees it


def test_tied_weights_share_storage_through_copies_and_dtypes():
    for model in (build(), copy.deepcopy(build()), build().float()):
        assert model.head.weight is model.tokens.weight
        assert model.head.weight.data_ptr() == model.tokens.weight.data_ptr()
    untied = build(replace(TINY, tied=False))
    assert untied.head.weight.data_ptr() != untied.tokens.weight.data_ptr()


def test_residual_projections_start_smaller():
    config = GPTConfig(channels=128, layers=4)
    model = build(config)
    std = (2 / (5 * 128)) ** 0.5
    for block in model.blocks:
        assert block.mlp.up.weight.std().item() == pytest.approx(std, rel=0.03)
        assert block.mlp.down.weight.std().item() == pytest.approx(std / 8**0.5, rel=0.03)
        assert block.attention.out.weight.std().item() == pytest.approx(std / 8**0.5, rel=0.03)
        assert block.norm1.weight.eq(1).all() and block.norm1.bias.eq(0).all()
        assert block.mlp.up.bias.eq(0).all()


@pytest.mark.parametrize("tied", [True, False])
def test_gradients_equal_finite_differences(tied):
    model, (x, y) = build(replace(TINY, tied=tied)), text()
    model(x, y)[1].backward()
    for name, parameter in model.named_parameters():
        flat, at = parameter.data.view(-1), parameter.grad.abs().argmax()  # its most influential entry
        step, start = 1e-5, flat[at].item()
        losses = []
        for value in (start + step, start - step):
            flat[at] = value
            losses.append(model(x, y)[1].item())
        flat[at] = start
        slope = (losses[0] - losses[1]) / (2 * step)
        assert slope == pytest.approx(parameter.grad.view(-1)[at].item(), rel=1e-6), name


def test_attention_equals_its_formula():
    model, (x, _) = build(), text()
    attention, h = model.blocks[0].attention, model.embed(x)
    q, k, v = (f(h).view(2, 8, 3, 4).transpose(1, 2) for f in (attention.query, attention.key, attention.value))
    scores = (q @ k.mT / 4**0.5).masked_fill(torch.ones(8, 8).triu(1).bool(), -math.inf)
    expected = attention.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(2, 8, 12))
    torch.testing.assert_close(attention(h), expected)


def test_it_learns_a_text_by_heart():
    model, (x, y) = build(), text()
    adamw = torch.optim.AdamW(model.parameters(), lr=1e-2)
    first = model(x, y)[1].item()
    for _ in range(60):
        loss = model(x, y)[1]
        adamw.zero_grad()
        loss.backward()
        adamw.step()
    assert loss.item() < 0.1 * first


def test_generate_is_deterministic_and_keeps_the_prompt():
    model, (x, _) = build(), text(time=3)

    def sample(seed, **kwargs):  # 23 tokens in the end: far beyond the block of 8
        return model.generate(x, 20, generator=torch.Generator().manual_seed(seed), **kwargs)

    assert sample(0).shape == (2, 23) and torch.equal(sample(0)[:, :3], x)
    assert torch.equal(sample(0), sample(0)) and not torch.equal(sample(0), sample(1))
    greedy = sample(0, temperature=0)
    assert torch.equal(greedy, sample(1, temperature=0))
    assert torch.equal(greedy[:, 3], model(x)[0][:, -1].argmax(-1))


def test_generate_continues_from_the_last_block_of_a_long_prompt():
    model, (x, _) = build(replace(TINY, tied=False)), text(time=14)
    for parameter in model.parameters():
        parameter.data *= 8  # far from uniform: what it reads decides what it writes
    tails = [
        model.generate(prompt, 20, generator=torch.Generator().manual_seed(0))[:, -20:]
        for prompt in (x, x[:, -8:], x[:, :8])
    ]
    assert torch.equal(tails[0], tails[1]) and not torch.equal(tails[0], tails[2])


def test_dropout_only_while_training_and_not_while_generating():
    model, (x, y) = build(replace(TINY, dropout=0.5)), text()
    assert model(x, y)[1].item() != model(x, y)[1].item()
    assert torch.equal(model.generate(x, 5, temperature=0), model.generate(x, 5, temperature=0))
    assert model.training
    model.eval()
    assert model(x, y)[1].item() == model(x, y)[1].item()


@pytest.mark.parametrize("config", [TINY, replace(TINY, tied=False), GPTConfig()])
@pytest.mark.parametrize("time", [4, 8])
def test_flops_equal_what_torch_counts(config, time):
    x, y = text(config, batch=3, time=time)
    model = GPT(config)
    with sdpa_kernel(SDPBackend.MATH):  # torch does not count the flash kernel that the CPU would take
        with FlopCounterMode(display=False) as forward:
            loss = model(x, y)[1]
        with FlopCounterMode(display=False) as backward:
            loss.backward()
    total = x.numel() * flops_per_token(config, time)
    assert (forward.get_total_flops(), backward.get_total_flops()) == (total // 3, total - total // 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"channels": 10}, r"channels=10 is not divisible by heads=3: 10 % 3 = 1"),
        ({"layers": 0}, r"layers=0: a GPT needs at least 1"),
        ({"vocabulary": -1}, r"vocabulary=-1"),
        ({"dropout": 1.0}, r"dropout=1.0 is not in \[0, 1\)"),
    ],
)
def test_sizes_that_do_not_fit(wrong, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **wrong)


def test_errors_when_running():
    model = build()
    with pytest.raises(ValueError, match="9 tokens are longer than the model's block of 8"):
        model(torch.zeros(1, 9, dtype=torch.int64))
    with pytest.raises(ValueError, match="temperature=-1 is negative"):
        model.generate(torch.zeros(1, 2, dtype=torch.int64), 1, temperature=-1)
