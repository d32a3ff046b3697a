"""What ranks say they hold under the lab's ZeRO, byte for byte: stages, uneven pieces, moments, a sharded group."""

from __future__ import annotations

import data_programs
import pytest

from lab_utils.ranks import RankError, Ranks
from lab_utils.widgets.gradient_flow.record import Piece
from lab_utils.widgets.shard_map.record import Kind, RankHoldings
from lab_utils.widgets.shard_map.rows_and_totals import Shards
from lab_utils.widgets.shard_map.sentences import copies_text, sentence

KINDS: tuple[Kind, ...] = ("parameter", "gradient", "optimizer state")
FLOAT, STEP = 8, 4  # bytes of a float64, and of a step count


def held_by(stage: str, steps: int = 1, moment: str = "after") -> tuple[RankHoldings, bool, int, int]:
    """(what this rank holds, is all of it where it says?, elements trained, flat tensors) at a moment of training.

    after    a step     accumulated    one backward that was not reduced, after one that was
    zeroed   gradients  forward        the root's parameters are gathered, for the backward
    """
    import torch.distributed as dist

    from lab_utils.widgets.shard_map.probe import holdings

    group = dist.group.WORLD
    model, optimizer, attached = data_programs.make(stage, group, seed=0)
    for x, y in data_programs.batches(steps):
        data_programs.step(model, optimizer, attached, x, y, group)
    if moment == "zeroed":
        optimizer.zero_grad()
    elif moment == "forward":
        model(x, y)
    elif moment == "accumulated":
        with attached.buckets.no_sync():
            model(x, y)[1].backward()
    found = holdings(model, optimizer, sharded=attached)
    numel = sum(shape.numel() for flat in attached.flats for shape in flat.shapes)
    return found, _in_place(found, attached, model), numel, len(attached.flats)


def _in_place(held: RankHoldings, attached, model) -> bool:
    """Whether every piece of a parameter has the bits that stand at its place in the whole model."""
    import zlib

    whole = attached.state_dict() if hasattr(attached, "state_dict") else model.state_dict()
    for each in held.held:
        if each.kind == "parameter" and each.numel:
            mine = whole[each.name].flatten() if len(each.whole) == 1 else whole[each.name]
            box = tuple(slice(a, a + n) for a, n in zip(each.piece.offset, each.piece.shape, strict=True))
            if zlib.crc32(mine[box].contiguous().numpy()) != each.content:
                return False
    return True


def bytes_of(results: list, kind: Kind) -> list[int]:
    return [result[0].bytes_of(kind) for result in results]


# Kinds that each stage has in pieces.
PIECES = {"zero1": KINDS[2:], "zero2": KINDS[1:], "zero3": KINDS}


@pytest.mark.parametrize("stage", PIECES)
def test_each_stage_is_told_in_pieces(ranks4: Ranks, stage: str) -> None:
    results = ranks4.run(held_by, stage)
    shards, (_, _, numel, flats) = Shards([result[0] for result in results]), results[0]
    assert all(in_place for _, in_place, _, _ in results)
    frozen = 4 * 16 * 16 * FLOAT  # one layer, whole on every rank
    for kind in KINDS:
        whole = numel * FLOAT * (2 if kind == "optimizer state" else 1) + (frozen if kind == "parameter" else 0)
        one = shards.sums[kind]
        assert one.missing_bytes == 0
        if kind not in PIECES[stage]:
            assert set(one.bytes) == {whole} == {one.whole_bytes} and set(one.alone) == {0}
        elif kind == "optimizer state":  # a step count for each flat tensor on each rank
            assert sum(one.bytes) == whole + 4 * flats * STEP
        else:
            assert sum(one.alone) == numel * FLOAT and sum(one.bytes) == sum(one.alone) + 4 * (whole - numel * FLOAT)
    assert "gathered" not in shards.kinds


def test_a_span_begins_and_ends_where_the_piece_does(ranks4: Ranks) -> None:
    """Three of the pieces begin in the middle of a parameter; whoever has nothing of it says so."""
    held = [result[0] for result in ranks4.run(held_by, "zero3")]
    spans = [next(each for each in rank.held if each.name == "tokens.weight").piece for rank in held]
    assert [span.offset for span in spans] == sorted(span.offset for span in spans) and len(set(spans)) > 1
    assert sum(span.shape[0] for span in spans) == 256 * 16
    empty = [each for rank in held for each in rank.held if each.kind == "parameter" and not each.numel]
    assert empty and {each.piece for each in empty} == {Piece((0,), (0,))} and not sum(each.bytes for each in empty)
    row = next(row for row in Shards(held).rows("parameter") if row.name == "tokens.weight")
    assert copies_text(Shards(held), row).endswith("pieces")


def test_rows_are_in_the_order_of_the_model(ranks2: Ranks) -> None:
    for stage in PIECES:
        names = [each.name for each in ranks2.run(held_by, stage)[0][0].held if each.kind == "parameter"]
        assert names[0] == "tokens.weight" and names[-1] == "norm.bias" and names[2].startswith("blocks.0.")


def test_the_moments_of_a_step(ranks2: Ranks) -> None:
    """Gathered for the backward; zeroed; added up without being reduced, whole beside the pieces, and unlike."""
    forward, plain = ranks2.run(held_by, "zero3", moment="forward"), ranks2.run(held_by, "zero3")
    root = (256 + 16 + 2) * 16 * FLOAT  # tokens, positions and the last norm
    assert bytes_of(forward, "gathered") == [root, root] and bytes_of(plain, "gathered") == [0, 0]
    assert bytes_of(forward, "parameter") == bytes_of(plain, "parameter")
    for stage, left in (("zero1", trained_bytes(ranks2)), ("zero2", 0)):
        assert bytes_of(ranks2.run(held_by, stage, moment="zeroed"), "gradient") == [left, left]
    both = ranks2.run(held_by, "zero2", moment="accumulated")
    numel = both[0][2]
    assert sum(bytes_of(both, "gradient")) == (2 + 1) * numel * FLOAT
    assert " more differ" in sentence(Shards([result[0] for result in both]), "gradient")


def trained_bytes(ranks: Ranks) -> int:
    return ranks.run(held_by, "zero1")[0][2] * FLOAT


def replicated_pieces() -> RankHoldings:
    """Sharded over two ranks, replicated over two such groups."""
    import torch.distributed as dist

    from lab_utils.widgets.shard_map.probe import holdings

    groups = [dist.new_group([0, 1]), dist.new_group([2, 3])]
    group = groups[dist.get_rank() // 2]
    model, optimizer, attached = data_programs.make("zero3", group, seed=0)
    ((x, y),) = data_programs.batches(1)
    data_programs.step(model, optimizer, attached, x, y, group)
    return holdings(model, optimizer, sharded=attached, prefix="mine ")


def test_pieces_that_have_copies(ranks4: Ranks) -> None:
    shards = Shards(ranks4.run(replicated_pieces))
    for kind in KINDS:
        assert set(shards.sums[kind].alone) == {0} and not any(row.differ for row in shards.rows(kind))
        assert "equal copies in all" in sentence(shards, kind)
    assert sentence(shards, "gradient").startswith("each rank holds 1/2 of the gradients")
    assert shards.rows("parameter")[0].name == "mine tokens.weight"


def of_another_model() -> None:
    import torch.distributed as dist

    from lab_utils.widgets.shard_map.probe import holdings

    _, _, attached = data_programs.make("zero1", dist.group.WORLD, seed=0)
    holdings(data_programs.tied(), sharded=attached)


def test_another_model_is_refused(ranks2: Ranks) -> None:
    with pytest.raises(RankError, match=r"sharded= has blocks\.2\..*, which is no parameter of this model"):
        ranks2.run(of_another_model)
