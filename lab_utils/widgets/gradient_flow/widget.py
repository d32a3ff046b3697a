"""Interactive gradient flow: play and scrub from the output's gradient to the last reduced bucket."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from lab_utils.render.kit import WIDTHS, time_axis
from lab_utils.text import time_unit
from lab_utils.timeline.timeline import SVG
from lab_utils.timeline.trace import Trace
from lab_utils.widgets.gradient_flow.flow import MOST_LAYERS, FlowPicture
from lab_utils.widgets.gradient_flow.picture import Drawing
from lab_utils.widgets.gradient_flow.record import FlowRecord
from lab_utils.widgets.gradient_flow.words import NO_LAYER, SCRIPT
from lab_utils.widgets.kit.assets import script_and_styles

FOLDER = Path(__file__).parent


class GradientFlow(anywidget.AnyWidget):
    """The gradients of one backward: ready on each rank, in a bucket, on the wire, reduced.

    >>> trace = ranks.record(step)                  # step returns flow.record(), see lab_utils.comm.gradient_flow
    >>> GradientFlow(trace, trace.results)          # last line of a cell: play, scrub, hover, select a layer
    >>> _.selected                                  # the layer that was selected, "" for none

    most_layers   more parameters than this are grouped by the module that holds them

    `to_svg()` returns the same picture for use without a kernel, `words()` a table. ValueError unless there is one
    record per rank, recorded in that trace.
    """

    _esm, _css = script_and_styles(FOLDER / "widget", "dom", "card", "parts/keys", "play", words=SCRIPT)
    svg = traitlets.Unicode().tag(sync=True)
    # {"left", "right", "top", "bottom": where time is in the picture, "end_s", "unit": [seconds, name],
    #  "layers": [name], "buckets": [number or None], "times": [rank][layer][ready_s, sent_s, back_s] or None,
    #  "gradients": [rank][layer]: how many a layer stands for}
    data = traitlets.Dict().tag(sync=True)
    # The same in narrower cards: {"svg", "left", "right", "top", "bottom"}, the narrowest last.
    narrower = traitlets.List().tag(sync=True)
    selected = traitlets.Unicode().tag(sync=True)

    def __init__(self, trace: Trace, records: Sequence[FlowRecord], most_layers: int = MOST_LAYERS) -> None:
        self.flow = FlowPicture.of(trace, records, most_layers)
        drawing = Drawing(self.flow)
        self._picture = drawing.picture()
        others = [Drawing(self.flow, width=width) for width in WIDTHS[1:]]
        narrower = [{"svg": other.picture().svg, **_place(other)} for other in others]
        super().__init__(svg=self._picture.svg, data=_data(self.flow, drawing), narrower=narrower)

    def to_svg(self) -> str:
        """Return the picture as SVG text with tooltips: same flow, same bytes."""
        return self.svg

    def words(self) -> str:
        """Return the picture as text: a line per layer, with the least and largest values over the ranks."""
        return self._picture.words

    @traitlets.validate("selected")
    def _known(self, proposal: dict[str, Any]) -> str:
        if proposal["value"] not in ("", *self.data.get("layers", ())):
            layers = ", ".join(self.data["layers"])
            raise traitlets.TraitError(NO_LAYER.format(layer=proposal["value"], layers=layers))
        return proposal["value"]

    def __repr__(self) -> str:
        return f"{self.flow.title}: {self.flow.headline(timed=False)}"  # nbval compares it: no times in it

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict] | None:
        """Return the widget's view, and the picture for use without a kernel."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is not None:
            bundle[0][SVG] = Drawing(self.flow, hover=False).picture().svg
        return bundle


def _data(flow: FlowPicture, drawing: Drawing) -> dict[str, Any]:
    size_s, name = time_unit(time_axis(flow.end_s).ticks[-1][0])
    return {
        **_place(drawing), "end_s": flow.end_s, "unit": [size_s, name], "layers": [layer.name for layer in flow.layers],
        "buckets": [layer.bucket for layer in flow.layers],
        "times": [[_times(flow, at, rank) for at in range(len(flow.layers))] for rank in range(flow.world_size)],
        "gradients": [[len(layer.held[rank]) for layer in flow.layers] for rank in range(flow.world_size)],
    }  # fmt: skip


def _place(drawing: Drawing) -> dict[str, float]:
    """Return where time is in the picture."""
    top = drawing.rows[0] if drawing.rows else 0
    return {"left": drawing.left, "right": drawing.right, "top": top, "bottom": drawing.bottom}


def _times(flow: FlowPicture, at: int, rank: int) -> list[float | None] | None:
    ready_s, bucket = flow.ready_s[rank][at], flow.layers[at].bucket
    if ready_s is None:
        return None
    wires = [] if bucket is None else flow.lines[bucket].of(rank)
    return [ready_s, *((wires[0].issue_s, wires[-1].done_s) if wires else (None, None))]
