"""Programs in a world of plain gloo, formed in the lab's own ranks."""

from __future__ import annotations

from lab_utils.ranks import Ranks


def on_gloo(names: list[tuple[str, str]], store: str, rank: int, size: int) -> dict[str, object]:
    """Run the programs in a world of plain gloo, formed here on a store of its own."""
    import importlib

    import torch.distributed as dist

    dist.init_process_group("gloo", store=dist.FileStore(store, size), rank=rank, world_size=size)
    try:
        return {name: getattr(importlib.import_module(module), name)() for module, name in names}
    finally:
        dist.destroy_process_group()


def in_a_gloo_world(ranks: Ranks, store: str, names: list[tuple[str, str]]) -> list[dict[str, object]]:
    """What each rank gets: {program: result}."""

    def program() -> dict[str, object]:
        import torch.distributed as dist

        rank, size = dist.get_rank(), dist.get_world_size()
        dist.destroy_process_group()
        return on_gloo(names, store, rank, size)

    try:
        return ranks.run(program)
    finally:
        ranks._must_form = True  # the program left the lab's world
