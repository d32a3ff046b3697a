"""Shards that hold every item once and move what they should; blocks that leak nothing."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_utils.corpus import (
    Batches,
    Hash,
    Random,
    Range,
    Rendezvous,
    balance,
    cut,
    moved,
    split,
)
from lab_utils.corpus.hashing import permutation, stable_hash, stream

ALL = [Range(), Hash(), Random(3), Rendezvous()]
names = pytest.mark.parametrize("sharding", ALL, ids=lambda sharding: type(sharding).__name__)


# ---- shards


@names
@given(n=st.integers(0, 300), ranks=st.integers(1, 12))
def test_every_item_is_on_exactly_one_rank_that_exists(sharding, n, ranks):
    assignment = sharding.assign(n, ranks)
    assert assignment.shape == (n,) and assignment.dtype == np.int64
    assert ((assignment >= 0) & (assignment < ranks)).all()
    np.testing.assert_array_equal(assignment, sharding.assign(range(n), ranks))


@pytest.mark.parametrize("sharding", [Range(), Random(1)], ids=["Range", "Random"])
@given(n=st.integers(1, 300), ranks=st.integers(1, 12))
def test_range_and_random_are_even_to_within_one_item(sharding, n, ranks):
    items = balance(sharding.assign(n, ranks), ranks).items
    assert items.sum() == n and items.max() - items.min() <= 1


@given(n=st.integers(0, 300), ranks=st.integers(1, 12))
def test_range_keeps_neighbours_together(n, ranks):
    assert (np.diff(Range().assign(n, ranks)) >= 0).all()


@pytest.mark.parametrize("sharding", [Hash(), Rendezvous()], ids=["Hash", "Rendezvous"])
@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_hashing_is_even_on_average(sharding, ranks):
    items = balance(sharding.assign(20_000, ranks), ranks).items
    mean = 20_000 / ranks
    assert np.abs(items - mean).max() < 5 * mean**0.5  # five standard deviations of a fair draw


@pytest.mark.parametrize("sharding", [Hash(), Rendezvous()], ids=["Hash", "Rendezvous"])
@given(words=st.lists(st.text(), unique=True, max_size=30), ranks=st.integers(1, 9), data=st.data())
def test_a_hashed_item_goes_to_the_same_rank_whatever_else_there_is(sharding, words, ranks, data):
    shuffled = data.draw(st.permutations(words))
    before = dict(zip(words, sharding.assign(words, ranks), strict=True))
    after = dict(zip(shuffled[1:], sharding.assign(shuffled[1:], ranks), strict=True))
    assert after.items() <= before.items()


@given(n=st.integers(1, 400), ranks=st.integers(1, 12))
def test_what_moves_under_rendezvous_hashing_moves_to_the_new_rank(n, ranks):
    before, after = Rendezvous().assign(n, ranks), Rendezvous().assign(n, ranks + 1)
    assert (after[before != after] == ranks).all()


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
@pytest.mark.parametrize(
    ("sharding", "expected"),
    [
        (Range(), lambda n: 1 / 2),
        (Hash(), lambda n: 1 - 1 / (n + 1)),
        (Random(5), lambda n: 1 - 1 / (n + 1)),
        (Rendezvous(), lambda n: 1 / (n + 1)),
    ],
    ids=["Range", "Hash", "Random", "Rendezvous"],
)
def test_what_moves_when_a_rank_is_added(sharding, expected, ranks):
    n = 20_000
    share = moved(sharding.assign(n, ranks), sharding.assign(n, ranks + 1))
    assert share == pytest.approx(expected(ranks), abs=5 * 0.5 / n**0.5)


def test_another_seed_is_another_order():
    assert moved(Random(0).assign(1000, 4), Random(1).assign(1000, 4)) > 0.5


def test_balance_with_weights():
    uneven = balance([0, 1, 1], 2, weights=[10, 20, 30])
    assert uneven.items.tolist() == [10, 50]
    assert uneven.imbalance == pytest.approx(50 / 30)


def test_shard_errors():
    for sharding in ALL:
        with pytest.raises(ValueError, match="ranks=0"):
            sharding.assign(10, 0)
    with pytest.raises(ValueError, match="3 items before, 2 after"):
        moved([0, 0, 0], [0, 0])
    with pytest.raises(ValueError, match="nothing to balance"):
        balance([], 2)


def test_hashes_are_fixed_for_ever():
    """Independent of process, machine and release: else a resumed run would read other data."""
    expected = hashlib.blake2b(b"sname", digest_size=8).digest()
    assert int(stable_hash(["name"])[0]) == int.from_bytes(expected, "little")
    assert len({int(stable_hash([item])[0]) for item in (1, "1", b"1")}) == 3
    assert permutation(8, 0).tolist() == [7, 2, 4, 0, 1, 5, 3, 6]
    assert stream(2, 3, 0).tolist() == stream(5, 3, 0)[:2].tolist()


# ---- blocks


@given(n=st.integers(2, 200), block=st.integers(1, 30))
def test_targets_are_the_next_tokens_and_no_whole_block_is_lost(n, block):
    ids = np.arange(n)
    if n < block + 1:
        with pytest.raises(ValueError, match=f"{n} tokens .* one block of {block} .* need {block + 1}:"):
            cut(ids, block)
        return
    blocks = cut(ids, block)
    np.testing.assert_array_equal(blocks.y, blocks.x + 1)
    np.testing.assert_array_equal(blocks.x.ravel(), ids[: len(blocks) * block])
    assert n - 1 - len(blocks) * block < block


@given(n=st.integers(60, 400), block=st.integers(1, 5), share=st.floats(0.1, 0.9), seed=st.integers(0, 9))
def test_no_held_out_token_is_ever_trained_on(n, block, share, seed):
    front, back = split(np.arange(n), share)  # every token is its own number
    assert len(back) == round(n * share) and len(front) + len(back) == n
    blocks = cut(front, block)
    batches = Batches(len(blocks), batch=1, seed=seed)
    seen = [blocks[batches[step]] for step in range(2 * len(blocks))]
    trained_on = {int(token) for part in seen for token in (*part.x.ravel(), *part.y.ravel())}
    assert trained_on.isdisjoint(back.tolist())


@given(n=st.integers(1, 100), data=st.data())
def test_an_epoch_shows_each_block_at_most_once_and_drops_less_than_a_batch(n, data):
    batches = Batches(n, data.draw(st.integers(1, n)), data.draw(st.integers(0, 5)))
    epoch = np.concatenate([batches[step] for step in range(batches.steps_per_epoch)])
    assert len(set(epoch.tolist())) == len(epoch) > n - batches.batch
    assert set(epoch.tolist()) <= set(range(n))


@given(batch=st.integers(1, 20), step=st.integers(0, 50), data=st.data())
def test_the_ranks_parts_are_the_batch(batch, step, data):
    batches = Batches(40, batch, seed=2)
    ranks = data.draw(st.integers(1, batch))
    parts = [batches.part(step, rank, ranks) for rank in range(ranks)]
    np.testing.assert_array_equal(np.concatenate(parts), batches[step])
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_epochs_and_seeds_differ_and_steps_repeat():
    batches = Batches(1000, 100, seed=0)
    assert not np.array_equal(batches[0], batches[10])  # the next epoch
    assert not np.array_equal(batches[0], Batches(1000, 100, seed=1)[0])
    assert np.array_equal(batches[13], Batches(1000, 100, seed=0)[13])


def test_block_errors():
    with pytest.raises(ValueError, match="block=0"):
        cut(np.arange(9), 0)
    with pytest.raises(ValueError, match="held_out=1"):
        split(np.arange(9), 1)
    with pytest.raises(ValueError, match="batch=5 is not between 1 and the 4 blocks"):
        Batches(4, 5)
    with pytest.raises(ValueError, match="rank 2 of 3 gets no part of a batch of 2"):
        Batches(4, 2).part(0, 2, 3)
