"""A heat map of gradient norms, layer × step, that grows while the ranks train."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from lab_utils.render.kit import Picture
from lab_utils.timeline.timeline import SVG
from lab_utils.widgets.kit.assets import script_and_styles
from lab_utils.widgets.kit.cells import at_cell_end
from lab_utils.widgets.norm_map.norms import EXPLODING, VANISHING, WORDS, Norms, check_thresholds
from lab_utils.widgets.norm_map.picture import TOP, NormDrawing

REDRAWS_PER_S = 4.0
MOST_LOAD = 0.2  # maximum share of time spent drawing: more layers mean fewer redraws
FOLDER = Path(__file__).parent


class NormMap(anywidget.AnyWidget):
    """Norm of each layer's gradient at each step, drawn while the ranks train; problems are marked.

    >>> norms = NormMap()
    >>> norms                                             # shows it, empty
    >>> ranks.run(train, on_report=norms.on_report)       # report(step=i, gradient_norms=gradient_norms(model))
    >>> norms.picture()                                   # the same as a static picture

    vanishing, exploding    factors of the median over layers at a step, below and above which a norm is marked, by
                            shape as well as colour; exploding also applies to the layer's past median.
                            Infinity and NaN are marked too

    Only rank 0's reports count; a step not beyond the last one starts a new map. Layers are in the order of the first
    report, last layer on top. In the map the arrow keys read out norms. ValueError for thresholds on the wrong side
    of 1.
    """

    _esm, _css = script_and_styles(FOLDER / "widget", "card")
    title = traitlets.Unicode().tag(sync=True)
    # {"svg": the picture, "left", "top", "right", "row": its grid, "layers": [name], "steps": [step],
    #  "says": [a sentence per problem], "values": float32[layers][steps], "states": uint8, numbers of WORDS}
    state = traitlets.Dict().tag(sync=True)
    words = traitlets.List(list(WORDS)).tag(sync=True)

    def __init__(
        self, title: str = "Gradient norms", *, vanishing: float = VANISHING, exploding: float = EXPLODING
    ) -> None:
        check_thresholds(vanishing, exploding)
        self.rows: list[tuple[int, dict[str, float]]] = []
        self._thresholds = vanishing, exploding
        self._next_s = 0.0
        super().__init__(title=title)

    def on_report(self, rank: int, values: Mapping[str, Any]) -> None:
        """Record a report of step and gradient_norms; ignore other ranks and other reports."""
        if rank != 0 or not {"step", "gradient_norms"} <= values.keys():
            return
        step = int(values["step"])
        if not self.rows or step <= self.rows[-1][0]:
            self.rows, self._next_s = [], 0.0
        self.rows.append((step, dict(reversed(values["gradient_norms"].items()))))
        at_cell_end(self.model_id, self._draw)  # draws what the redraw limit held back
        if time.monotonic() >= self._next_s:
            self._draw()

    def norms(self) -> Norms:
        """Return all reported norms. ValueError before the first report."""
        return Norms.of(self.rows, *self._thresholds)

    def picture(self) -> Picture:
        """Return the map as a static picture. ValueError before the first report."""
        return NormDrawing(self.norms(), self.title).picture()

    def to_svg(self) -> str:
        """Return the picture as SVG text: same norms, same bytes. ValueError before the first report."""
        return self.picture().svg

    def _draw(self) -> None:
        """Send everything the view needs in one message."""
        began_s = time.monotonic()
        norms = self.norms()
        drawing = NormDrawing(norms, self.title)
        self.state = {
            "svg": drawing.picture().svg, "left": drawing.left, "top": TOP, "row": drawing.row,
            "right": drawing.left + drawing.count * drawing.width, "layers": norms.layers, "steps": norms.steps,
            "says": norms.words(), "values": norms.values.astype(np.float32).tobytes(),
            "states": norms.states.tobytes(),
        }  # fmt: skip
        took_s = time.monotonic() - began_s
        self._next_s = began_s + max(1 / REDRAWS_PER_S, took_s / MOST_LOAD)

    def __repr__(self) -> str:
        return f"{self.title}: a map of layers and steps grows here while the ranks train"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict] | None:
        """Return the widget's view, and after the first report the picture for use without a kernel."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is not None and self.rows:
            bundle[0][SVG] = self.to_svg()
        return bundle
