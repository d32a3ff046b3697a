"""The load of a layer's experts, as measured: plain numbers, so that the notebook's kernel draws them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """How many tokens each expert of a layer was chosen for, over all ranks.

    layer     the layer's name in the model
    chosen    of each expert: choices, those dropped included
    dropped   of each expert: choices beyond its capacity
    ep        ranks that share out the experts, in order
    capacity  choices that an expert takes at most, all dispatch groups together; None drops none
    """

    layer: str
    chosen: tuple[int, ...]
    dropped: tuple[int, ...]
    ep: int = 1
    capacity: int | None = None

    @property
    def computed(self) -> tuple[int, ...]:
        """What each expert computed."""
        return tuple(chosen - dropped for chosen, dropped in zip(self.chosen, self.dropped, strict=True))

    @property
    def by_rank(self) -> tuple[int, ...]:
        """What the experts of each rank along ep computed together."""
        each = len(self.chosen) // self.ep
        return tuple(sum(self.computed[first : first + each]) for first in range(0, len(self.chosen), each))

    @property
    def imbalance(self) -> float:
        """The most loaded rank's load / the mean: the others wait for it. Of experts where a rank has all of them."""
        loads = self.by_rank if self.ep > 1 else self.computed
        return max(loads) * len(loads) / sum(loads) if sum(loads) else 1.0


def together(loads: list[Load]) -> Load:
    """Return the sum over steps of one layer's loads. ValueError for none, and for loads of several layers."""
    if len({(load.layer, load.ep, len(load.chosen)) for load in loads}) != 1:
        named = ", ".join(load.layer for load in loads) or "none"
        raise ValueError(f"loads of one layer are summed, and these are of {named}")
    chosen = tuple(map(sum, zip(*(load.chosen for load in loads), strict=True)))
    dropped = tuple(map(sum, zip(*(load.dropped for load in loads), strict=True)))
    limits = [load.capacity for load in loads]
    return Load(loads[0].layer, chosen, dropped, loads[0].ep, None if None in limits else sum(limits))
