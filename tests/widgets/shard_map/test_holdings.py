"""What ranks say they hold, byte for byte against formulas: copies, ZeRO 1 and 3, tensor parallel, a mesh, stages."""

from __future__ import annotations

from math import ceil, prod

import holdings_programs as programs
import pytest
from holdings_programs import BATCH, HIDDEN, IN, OUT

from lab_utils.ranks import RankError, Ranks
from lab_utils.widgets.gradient_flow.record import Piece
from lab_utils.widgets.shard_map.record import Kind, RankHoldings
from lab_utils.widgets.shard_map.rows_and_totals import Shards
from lab_utils.widgets.shard_map.sentences import copies_text, sentence

FLOAT, STEP = 4, 4  # bytes
SHAPES = {"0.weight": (HIDDEN, IN), "0.bias": (HIDDEN,), "2.weight": (OUT, HIDDEN), "2.bias": (OUT,)}
WHOLE = FLOAT * sum(map(prod, SHAPES.values()))
ADAM = 2 * WHOLE + STEP * len(SHAPES)
KEPT = FLOAT * BATCH * (IN + HIDDEN + HIDDEN + OUT)  # inputs of both layers, of the GELU, and of the square


def by_rank(held: list[RankHoldings], kind: Kind) -> list[int]:
    return [rank.bytes_of(kind) for rank in held]


def sharded(rank: int, ranks: int) -> int:
    """Numbers that FSDP2 leaves on a rank: rows in chunks of the rounded-up size, the last ones shorter or empty."""
    found = 0
    for rows, *columns in SHAPES.values():
        size = ceil(rows / ranks)
        found += max(0, min(size, rows - rank * size)) * prod(columns)
    return found


def test_data_parallel_replicates_everything(ranks4: Ranks) -> None:
    held = ranks4.run(programs.ddp)
    sizes = {"parameter": WHOLE, "gradient": WHOLE, "optimizer state": ADAM, "activation": KEPT, "buffer": WHOLE}
    assert {kind: by_rank(held, kind) for kind in sizes} == {kind: [size] * 4 for kind, size in sizes.items()}
    shards = Shards(held)
    for kind in ("parameter", "gradient", "optimizer state"):
        assert shards.sums[kind].alone == (0, 0, 0, 0)
        assert sentence(shards, kind).endswith("4 equal copies in all")
    assert [saved.name for saved in held[0].activations] == ["0", "1", "2", "outside of the model"]


def test_gradients_in_buckets_are_there_once(ranks2: Ranks) -> None:
    assert by_rank(ranks2.run(programs.ddp, view=True), "buffer") == [0, 0]


def test_zero_1_gives_each_parameter_to_one_rank(ranks2: Ranks) -> None:
    """The library fills the rank that has least so far, largest parameter first."""
    held = ranks2.run(programs.zero_1)
    owned: list[list[str]] = [[], []]
    for name in sorted(SHAPES, key=lambda name: -prod(SHAPES[name])):
        min(owned, key=lambda names: sum(prod(SHAPES[name]) for name in names)).append(name)
    expected = [sum(2 * FLOAT * prod(SHAPES[name]) + STEP for name in names) for names in owned]
    assert by_rank(held, "optimizer state") == expected and sum(expected) == ADAM
    assert by_rank(held, "parameter") == by_rank(held, "gradient") == [WHOLE, WHOLE]
    shards = Shards(held)
    assert list(shards.sums["optimizer state"].alone) == expected
    said = {row.name: copies_text(shards, row) for row in shards.rows("optimizer state")}
    assert said == {name: f"rank {rank} alone" for rank, names in enumerate(owned) for name in names}


@pytest.mark.parametrize("size", [2, 4])
def test_fsdp_shards_unevenly(size: int, ranks2: Ranks, ranks4: Ranks) -> None:
    results = (ranks2 if size == 2 else ranks4).run(programs.fsdp)
    after, started = [result[0] for result in results], [result[1] for result in results]
    numbers = [sharded(rank, size) for rank in range(size)]
    assert sum(numbers) * FLOAT == WHOLE and len(set(numbers)) > 1
    assert by_rank(after, "parameter") == by_rank(after, "gradient") == [FLOAT * count for count in numbers]
    assert by_rank(after, "optimizer state") == [2 * FLOAT * count + STEP * len(SHAPES) for count in numbers]
    assert by_rank(after, "activation") == [KEPT] * size
    padded = sum(ceil(rows / size) * size * prod(columns) for rows, *columns in SHAPES.values())
    assert by_rank(after, "gathered") == [0] * size and by_rank(started, "gathered") == [FLOAT * padded] * size
    assert all(in_place for *_, in_place in results)
    one = Shards(after).sums["parameter"]
    assert list(one.alone) == list(one.bytes) and one.whole_bytes == WHOLE and one.missing_bytes == 0


def test_gradients_that_accumulate_are_whole(ranks2: Ranks) -> None:
    held = ranks2.run(programs.unreduced)
    assert by_rank(held, "gradient") == [WHOLE, WHOLE]
    assert sentence(Shards(held), "gradient").endswith("2 copies in all; copies of 0.weight, 0.bias, 2.weight and 1 "
                                                       "more differ")  # fmt: skip


def test_what_has_two_names_is_held_once(ranks2: Ranks) -> None:
    held = ranks2.run(programs.shared)[0]
    assert held.bytes_of("parameter") == FLOAT * (IN * IN + 4 * IN)
    assert held.bytes_of("buffer") == FLOAT * 2 * IN + 8  # mean, variance, and an int64 of batches
    assert held.held[0].name == "mine 0.weight"


def test_tensor_parallel_splits_rows_then_columns(ranks2: Ranks) -> None:
    results = ranks2.run(programs.tensor_parallel)
    held = [result[0] for result in results]
    numbers = HIDDEN // 2 * IN + HIDDEN // 2 + OUT * HIDDEN // 2 + OUT
    assert by_rank(held, "parameter") == by_rank(held, "gradient") == [FLOAT * numbers] * 2
    pieces = {piece.name: piece.piece for piece in held[1].held if piece.kind == "parameter"}
    assert pieces["0.weight"] == Piece((HIDDEN // 2, 0), (HIDDEN // 2, IN))
    assert pieces["2.weight"] == Piece((0, HIDDEN // 2), (OUT, HIDDEN // 2))
    assert all(in_place for _, in_place in results)
    shards = Shards(held)
    assert shards.sums["parameter"].alone == (FLOAT * (numbers - OUT),) * 2
    said = [copies_text(shards, row) for row in shards.rows("parameter")]
    assert said == ["2 pieces", "2 pieces", "2 pieces", "2 copies, equal"]


def test_a_mesh_of_both(ranks4: Ranks) -> None:
    """Rows of the first layer go to tp, and what each tp rank has of them to dp; the mesh comes from the tensors."""
    results = ranks4.run(programs.both)
    held = [result[0] for result in results]
    half, rows = HIDDEN // 2, [ceil(OUT / 2), OUT // 2]
    expected = [FLOAT * (row * IN + row + row * half + row) for row in rows for _ in range(2)]
    assert HIDDEN // 2 == OUT  # so that dp's rows are alike in all parameters
    assert by_rank(held, "parameter") == by_rank(held, "gradient") == expected
    assert all(in_place for _, in_place in results)
    shards = Shards(held)
    assert [[(axis.name, axis.at) for axis in axes] for axes in shards.axes] == [
        [("dp", dp), ("tp", tp)] for dp in range(2) for tp in range(2)
    ]
    assert copies_text(shards, shards.rows("gradient")[3]) == "2 pieces × 2, equal"


def test_hybrid_sharding_has_copies_of_pieces(ranks4: Ranks) -> None:
    shards = Shards(ranks4.run(programs.hybrid))
    expected = tuple(FLOAT * sharded(rank, 2) for rank in (0, 1, 0, 1))
    for kind in ("parameter", "gradient"):
        assert shards.sums[kind].bytes == expected and shards.sums[kind].alone == (0, 0, 0, 0)
        assert {copies_text(shards, row) for row in shards.rows(kind)} == {"2 pieces × 2, equal"}


def test_stages_keep_what_is_under_way(ranks2: Ranks) -> None:
    """Under 1F1B the first of two stages keeps two micro-batches, the last one; and both keep whole inputs."""
    microbatches = 4
    held = ranks2.run(programs.pipeline, microbatches)
    first = FLOAT * (HIDDEN * IN + HIDDEN)
    assert by_rank(held, "parameter") == by_rank(held, "optimizer state") == [first, WHOLE - first]
    whole_x, whole_y = FLOAT * microbatches * BATCH * IN, FLOAT * microbatches * BATCH * OUT
    gelu, output = FLOAT * BATCH * HIDDEN, FLOAT * BATCH * OUT
    assert by_rank(held, "activation") == [whole_x + 2 * gelu, gelu + output + whole_y]
    shards = Shards(held)
    assert shards.sums["parameter"].alone == (first, WHOLE - first)
    names = ["stage 0.0.weight", "stage 0.0.bias", "stage 1.2.weight", "stage 1.2.bias"]
    assert [row.name for row in shards.rows("gradient")] == names


def test_a_gradient_that_was_not_reduced_differs(ranks2: Ranks) -> None:
    shards = Shards(ranks2.run(programs.forgotten))
    assert sentence(shards, "gradient").endswith("copies of 2.bias differ")
    assert {row.name: sorted(row.differ) for row in shards.rows("gradient") if row.differ} == {"2.bias": [0, 1]}
    assert sentence(shards, "parameter").endswith("2 equal copies in all")


def test_plain_tensors_can_be_pieces(ranks2: Ranks) -> None:
    shards = Shards(ranks2.run(programs.by_hand))
    for kind in ("parameter", "gradient", "optimizer state"):
        split, *others = shards.rows(kind)
        assert split.bytes == (FLOAT * HIDDEN // 2 * IN,) * 2 and copies_text(shards, split) == "2 pieces"
        assert {copies_text(shards, row) for row in others} == {"2 copies, equal"}
        assert shards.sums[kind].whole_bytes == WHOLE


def misplaced() -> None:
    from lab_utils.widgets.shard_map.probe import holdings

    holdings(programs.model(), places={"0.weight": ((HIDDEN, IN), (1, 0))})


def test_a_place_that_does_not_fit_is_refused(ranks2: Ranks) -> None:
    with pytest.raises(RankError, match=r"0.weight has shape \[10, 16\] here, which at offset \[1, 0\] does not fit"):
        ranks2.run(misplaced)
