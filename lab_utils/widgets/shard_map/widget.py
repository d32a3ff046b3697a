"""Interactive shard map: switch between kinds, hover over a rank or a tensor, select a tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from lab_utils.render.kit import WIDTHS
from lab_utils.timeline.timeline import SVG
from lab_utils.widgets.kit.assets import script_and_styles
from lab_utils.widgets.shard_map.picture import FEW, shard_map
from lab_utils.widgets.shard_map.record import Kind, RankHoldings
from lab_utils.widgets.shard_map.rows_and_totals import Shards
from lab_utils.widgets.shard_map.sentences import summary
from lab_utils.widgets.shard_map.words import NAMES, NO_KIND, NO_ROW, SCRIPT

FOLDER = Path(__file__).parent


class ShardMap(anywidget.AnyWidget):
    """Which rank holds which piece of parameters, gradients, optimizer state and activations, in bytes, on the mesh.

    >>> def step():                                     # on the ranks; see lab_utils.comm.holdings
    ...     with saved_for_backward(model) as saved:
    ...         loss = model(x).mean()
    ...     loss.backward(); optimizer.step()
    ...     return holdings(model, optimizer, activations=saved)
    >>> ShardMap(ranks.run(step))                       # last line of a cell
    >>> _.kind, _.selected                              # the kind shown, "parameter", and a tensor's name or ""

    mesh   names and sizes of its axes, outermost first, {"dp": 2, "tp": 2}: rank 1 is dp 0, tp 1. Default: the mesh
           of the model's DTensors, or none
    kind   of the tensors shown first: "parameter", "gradient", "optimizer state", "activation", "buffer"

    `to_svg()` returns the picture for use without a kernel, `words()` sentences and tables. ValueError for
    duplicate ranks, no holdings, tensors of different shapes under one name, or a mesh of another number of ranks.
    """

    _esm, _css = script_and_styles(FOLDER / "widget", "dom", "card", "parts/keys", words=SCRIPT)
    # [[kind, label, picture, [names of the rows]]]
    pages = traitlets.List().tag(sync=True)
    # The same pictures in narrower cards, [[picture of each page]], the narrowest last; many ranks need the widest.
    narrower = traitlets.List().tag(sync=True)
    kind = traitlets.Unicode().tag(sync=True)
    selected = traitlets.Unicode().tag(sync=True)

    def __init__(
        self, holdings: Sequence[RankHoldings], mesh: Mapping[str, int] | None = None, kind: Kind | None = None
    ) -> None:
        self.shards = Shards(holdings, mesh)
        pages = [
            [each, NAMES[each], shard_map(self.shards, each).svg, [row.name for row in self.shards.rows(each)]]
            for each in self.shards.kinds
        ]
        narrower = [
            [shard_map(self.shards, each, width=width).svg for each in self.shards.kinds]
            for width in (WIDTHS[1:] if len(self.shards) <= FEW else ())
        ]
        super().__init__(pages=pages, narrower=narrower, kind=kind or self.shards.kinds[0])

    def to_svg(self) -> str:
        """Return the picture of the shown kind as SVG text: same holdings, same bytes."""
        return shard_map(self.shards, self.kind).svg

    def words(self) -> str:
        """Return the picture as text: a sentence per kind, a table of ranks, a table of this kind's tensors."""
        return shard_map(self.shards, self.kind, hover=False).words

    @traitlets.validate("kind")
    def _known_kind(self, proposal: dict[str, Any]) -> str:
        if proposal["value"] not in (kinds := [page[0] for page in self.pages]):
            raise traitlets.TraitError(NO_KIND.format(kind=proposal["value"], kinds=", ".join(kinds)))
        return proposal["value"]

    @traitlets.validate("selected")
    def _known_row(self, proposal: dict[str, Any]) -> str:
        if proposal["value"] not in ("", *self._names()):
            raise traitlets.TraitError(NO_ROW.format(row=proposal["value"], rows=", ".join(self._names())))
        return proposal["value"]

    @traitlets.observe("kind")
    def _other_rows(self, _: object) -> None:
        if self.selected not in self._names():
            self.selected = ""

    def _names(self) -> list[str]:
        """Return the names of the shown rows."""
        return next((names for kind, _, _, names in self.pages if kind == self.kind), [])

    def __repr__(self) -> str:
        return "\n".join(summary(self.shards))

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict] | None:
        """Return the widget's view, and the picture for use without a kernel."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is not None:
            bundle[0][SVG] = shard_map(self.shards, self.kind, hover=False).svg
        return bundle
