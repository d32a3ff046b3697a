"""Holdings for the tests of shard maps, made without ranks: ZeRO-3 over dp of what tensor parallelism leaves."""

from __future__ import annotations

from math import prod

from lab_utils.widgets.gradient_flow.record import Piece
from lab_utils.widgets.shard_map.record import Axis, Held, Kind, RankHoldings, Saved

WIDTH = 64
LAYER = {"norm.weight": (WIDTH,), "attention.weight": (3 * WIDTH, WIDTH), "mlp.up.weight": (4 * WIDTH, WIDTH)}
SLOTS = ("exp_avg", "exp_avg_sq")


def sample(dp: int = 2, tp: int = 2, layers: int = 2, mesh: bool = True, zero: int = 3) -> list[RankHoldings]:
    """Ranks in order along tp. zero: what is sharded over dp, 1 the optimizer's state, 2 gradients too, 3 all."""
    found = []
    for rank in range(dp * tp):
        at, held = divmod(rank, tp), []
        for number, (kind, slots) in enumerate([("optimizer state", SLOTS), ("gradient", ("",)), ("parameter", ("",))]):
            for slot in slots:
                held += [
                    _held(kind, f"blocks.{layer}.{name}", slot, whole, at, (dp if number < zero else 1, tp))
                    for layer in range(layers)
                    for name, whole in LAYER.items()
                ]
        axes = (Axis("dp", at[0], dp), Axis("tp", at[1], tp)) if mesh else ()
        saved = tuple(Saved(f"blocks.{layer}", 3, 1000 * (layer + 1)) for layer in range(layers))
        found.append(RankHoldings(rank, tuple(held), saved, axes))
    return found


def _held(
    kind: Kind, name: str, slot: str, whole: tuple[int, ...], at: tuple[int, int], shards: tuple[int, int]
) -> Held:
    """Rows over dp, columns over tp; vectors are whole on every tp rank. Content is the piece's own."""
    (row, column), (down, across) = at, shards
    rows = (whole[0] * (row % down) // down, whole[0] * (row % down + 1) // down)
    offset, shape = (rows[0],), (rows[1] - rows[0],)
    if len(whole) == 2:
        offset, shape = (*offset, whole[1] // across * column), (*shape, whole[1] // across)
    return Held(
        kind, name, whole, Piece(offset, shape), "float32", 4 * prod(shape), slot, hash((offset, shape)) & 0xFFFF
    )
