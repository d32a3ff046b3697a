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
MOST_LOAD = 0.2  # of the time goes into drawing: the more layers, the fewer redraws
FOLDER = Path(__file__).parent


class NormMap(anywidget.AnyWidget):
    """Norm of each layer's gradient at each step, drawn while the ranks train; what is wrong is marked.

    >>> norms = NormMap()
    >>> norms                                             # shows it, empty
    >>> ranks.run(train, on_report=norms.on_report)       # report(step=i, gradient_norms=gradient_norms(model))
    >>> norms.picture()                                   # the same as a picture that stays

    vanishing, exploding    a norm below, above so many times the median over the layers of its step is marked, by
                            shape as well as colour; so is one so many times above what its layer was used to,
                            and what is infinite or NaN

    Rank 0's reports count; a step that is not beyond the last one begins a new map. Layers come in the order in which
    the first report names them, last layer on top. In the map the arrow keys read out norms. ValueError for
    thresholds on the wrong side of 1.
    """

    _esm, _css = script_and_styles(FOLDER / "widget", "card")
    title = traitlets.Unicode().tag(sync=True)
    # {"svg": the picture, "left", "top", "right", "row": its grid, "layers": [name], "steps": [step],
    #  "says": [a sentence for each finding], "values": float32[layers][steps], "states": uint8, numbers of WORDS}
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
        """Take a report of step and gradient_norms; those of other ranks and of other things are left alone."""
        if rank != 0 or not {"step", "gradient_norms"} <= values.keys():
            return
        step = int(values["step"])
        if not self.rows or step <= self.rows[-1][0]:
            self.rows, self._next_s = [], 0.0
        self.rows.append((step, dict(reversed(values["gradient_norms"].items()))))
        at_cell_end(self.model_id, self._draw)  # what the limit on redraws holds back must come
        if time.monotonic() >= self._next_s:
            self._draw()

    def norms(self) -> Norms:
        """All that was reported. ValueError before the first report."""
        return Norms.of(self.rows, *self._thresholds)

    def picture(self) -> Picture:
        """The map as a still picture. ValueError before the first report."""
        return NormDrawing(self.norms(), self.title).picture()

    def to_svg(self) -> str:
        """The picture as text of an SVG file: same norms, same bytes. ValueError before the first report."""
        return self.picture().svg

    def _draw(self) -> None:
        """Everything the view needs in one message."""
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
        """The widget's view, and the picture for places without a kernel once there is one."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is not None and self.rows:
            bundle[0][SVG] = self.to_svg()
        return bundle
