"""Exercise 01.16 on real ranks: right, stubs, and what people write instead, with its sentence."""

from __future__ import annotations

from functools import partial

import exercise_runs
import pytest
from exercise_runs import assert_open, assert_right, define, judged

from lab_utils.exercises import check, solution
from lab_utils.exercises.ch01_data.bucket_hook import judge

IMPORTS = """\
import torch
import torch.distributed as dist
from collections.abc import Callable
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from lab_utils.strategies.data import Buckets, aggregate
"""
SOLUTION = judge.explained()["solution"]
changed = partial(exercise_runs.changed, SOLUTION)  # the right answer with some of its lines changed


LAST = "        if bucket:\n            send()\n"
PENDING = "pending.append((dist.all_reduce(flat, async_op=True), flat, [*bucket]))"
WAIT = "            work.wait()\n"
COPY = "p.grad.copy_(mean.view_as(p))"
FULL = "if sum(p.grad.nbytes for p in bucket) >= least_bytes:"
VERSIONS = {
    "stub": "def my_buckets(model, least_bytes):\n    raise NotImplementedError\n",
    "dots": "def my_buckets(model, least_bytes):\n    ...\n",
    "solution": SOLUTION,
    "the_lab_s": """
def my_buckets(model, least_bytes):
    Buckets(model, bucket_mb=least_bytes / 2**20, first_mb=least_bytes / 2**20)
    return lambda: None
""",
    "average": changed((" / ranks", ""), ("flat, async_op", "flat, dist.ReduceOp.AVG, async_op")),
    "waits_in_hook": changed((PENDING, PENDING + "\n        pending[-1][0].wait()")),
    "synchronous": changed((PENDING, PENDING.replace("async_op=True", "async_op=False")), (WAIT, "")),
    "waits_for_the_one_before": changed((PENDING, "[work.wait() for work, *_ in pending]\n        " + PENDING)),
    "never_waits": changed((WAIT, "")),
    "waits_for_the_last_only": changed((WAIT, "            pending[-1][0].wait()\n")),
    "leaves_out_the_last": changed((LAST, "")),
    "sums": changed((" / ranks", "")),
    "divides_twice": changed((COPY, f"{COPY}\n                p.grad /= ranks")),
    "swaps_on_rank_1": changed(
        (
            "pending.append((dist.all_reduce(flat, async_op=True)",
            "held.append(flat)\n"
            "        if dist.get_rank() == 1 and len(held) == 1:\n"
            "            return\n"
            "        pending.append((dist.all_reduce(flat, async_op=True)",
        ),
        ("    def send():", "    held = []\n\n    def send():"),
    ),
    "other_sizes_on_rank_1": changed((FULL, FULL.replace("least_bytes", "least_bytes * (1 + dist.get_rank() % 2)"))),
    "one_by_one": changed((FULL, "if True:")),
    "too_early": changed((FULL, FULL.replace("least_bytes", "0.9 * least_bytes"))),
    "in_one": changed((FULL, "if False:")),
    "all_after_the_backward": """
def my_buckets(model, least_bytes):
    def finish():
        works = [dist.all_reduce(p.grad.div_(dist.get_world_size()), async_op=True) for p in model.parameters()]
        [work.wait() for work in works]
    return finish
""",
    "keeps_all_in_the_bucket": changed(("bucket.clear()", "bucket.sort(key=id)")),
    "not_copied_back": changed((COPY, "mean.view_as(p)")),
    "nothing": "def my_buckets(model, least_bytes):\n    return lambda: model.zero_grad(set_to_none=False)\n",
    "no_finish": changed(("    return finish", "    return finish()")),
    "zeroes": changed(("        pending.clear()", "        pending.clear()\n        model.zero_grad()")),
    "keeps_the_first": changed(
        (COPY, "p.grad.copy_(first.setdefault(p, mean.view_as(p)))"),
        ("    def finish():", "    first = {}\n\n    def finish():"),
    ),
    "one_tensor": changed(
        ("        pending.clear()", "        pending.clear()\n        model.layers[2].bias.grad *= 3")
    ),
}


def card_of(ranks, version: str):
    return judged(ranks, "01.16", IMPORTS + VERSIONS[version])


@pytest.mark.parametrize("version", ["stub", "dots"])
def test_stubs_are_not_answered_yet(ranks4, version: str) -> None:
    assert_open(ranks4, "01.16", IMPORTS + VERSIONS[version])


@pytest.mark.parametrize("version", ["solution", "the_lab_s", "average"])
def test_right_versions(ranks4, version: str) -> None:
    assert_right(ranks4, "01.16", IMPORTS + VERSIONS[version])


def test_the_explanation_quotes_the_solution() -> None:
    assert SOLUTION.splitlines()[0] in repr(solution("01.16"))
    assert "register_post_accumulate_grad_hook(ready)" in SOLUTION


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("waits_in_hook", "rank 0 blocks inside the backward: it waits for message 1 of 4 while "),
        ("synchronous", "rank 0 blocks inside the backward: it waits for message 1 of 4 while "),
        ("waits_for_the_one_before", "rank 0 blocks inside the backward: it waits for message 1 of 4 while "),
        ("never_waits", "rank 0 never waits for message 1 of 4: the optimizer could read a bucket"),
        ("waits_for_the_last_only", "rank 0 never waits for message 1 of 4: "),
        ("one_by_one", "rank 0 sends 12 messages per step: 37,152 bytes in buckets of at least 8,000 are at most 5"),
        ("too_early", "rank 0 sends a bucket of 7,200 bytes: only the last one may have fewer than 8,000"),
        ("in_one", "only 0 of rank 0's 1 messages are sent while the backward still computes"),
        ("all_after_the_backward", "only 0 of rank 0's 12 messages are sent while the backward still computes"),
        ("keeps_all_in_the_bucket", "rank 0 sends "),
        ("nothing", "rank 0 sends nothing: all_reduce has to be called for each bucket"),
        ("no_finish", "my_buckets returned NoneType on rank 0: return finish, a function without arguments"),
    ],
)
def test_wrong_messages(ranks4, version: str, said: str) -> None:
    card = card_of(ranks4, version)
    assert card.state == "wrong" and card.sentence.startswith(said), card


@pytest.mark.parametrize("version", ["swaps_on_rank_1", "other_sizes_on_rank_1"])
def test_another_order_on_one_rank(ranks4, version: str) -> None:
    card = card_of(ranks4, version)
    assert card.state == "wrong" and card.sentence.startswith(
        "the ranks do not send the same buckets in the same order"
    ), card
    assert "rank" in card.lines[0] and "sum float64 x" in card.lines[0] and ".py" not in repr(card), card


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("leaves_out_the_last", "layers.0.weight"),
        ("sums", "gradients are 4.00 × serial: a sum where a mean belongs"),
        ("divides_twice", "gradients are 0.25 × serial: divided by the number of ranks once too often"),
        ("not_copied_back", "every rank keeps the gradients of its own shard: what came back is not copied into .grad"),
        ("zeroes", "rank 0 has no gradient of layers.0.bias after finish()"),
        ("keeps_the_first", "the first backward's gradients equal serial and the second's do not"),
        ("one_tensor", "the gradient of layers.2.bias on rank 3 differs most from serial, by 2 relative"),
    ],
)
def test_wrong_gradients(ranks4, version: str, said: str) -> None:
    card = card_of(ranks4, version)
    assert card.state == "wrong" and card.sentence.startswith(said), card
    if version == "leaves_out_the_last":
        assert "their bucket was not full when the backward ended, and was never sent" in card.sentence


def test_two_ranks_are_judged_alike(ranks2) -> None:
    assert card_of(ranks2, "solution").right
    assert card_of(ranks2, "sums").sentence == "gradients are 2.00 × serial: a sum where a mean belongs"


def test_no_two_messages_of_the_check_have_one_size(ranks4) -> None:
    """So that ranks which send in different orders always bring different sizes to one op."""
    define(ranks4, IMPORTS + SOLUTION)
    trace = ranks4.record(judge.on_ranks.hooked, "my_buckets", judge.LEAST_BYTES, 1)
    sizes = [op.bytes for op in trace.ops[0] if op.kind == "collective"]
    assert len(sizes) == len(set(sizes)) == 4 and check("01.16", ranks4, "my_buckets").right
