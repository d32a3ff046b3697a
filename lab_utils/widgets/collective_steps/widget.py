"""Interactive picture of a recorded collective: play and scrub its steps, chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from lab_utils.timeline.timeline import SVG
from lab_utils.timeline.trace import Trace
from lab_utils.widgets.collective_steps.picture import LargePanel, collective_panels
from lab_utils.widgets.collective_steps.record import ChunkLog
from lab_utils.widgets.collective_steps.sentences import chunk_said, headline, message_said, said, shown, step_says
from lab_utils.widgets.collective_steps.steps import ChunkSteps, Holding, Sent
from lab_utils.widgets.collective_steps.words import SCRIPT, TITLE
from lab_utils.widgets.kit.assets import script_and_styles

FOLDER = Path(__file__).parent


class CollectiveSteps(anywidget.AnyWidget):
    """Which rank sent which chunk to which rank at each step, and what every rank then holds of each chunk.

    >>> trace = ranks.record(my_ring)                    # it returns flow.record(), see lab_utils.comm.chunk_flow
    >>> CollectiveSteps(trace, trace.results, "my ring")
    >>> _.step                                           # number of steps shown as done; can be set

    Works for any collective that is written with send and receive. `to_svg()` has a panel per step, `words()` the same
    as text; `steps` holds the data. ValueError unless there is one log per rank, recorded in that trace.
    """

    _esm, _css = script_and_styles(FOLDER / "widget", "dom", "card", "play", words=SCRIPT)
    svg = traitlets.Unicode().tag(sync=True)
    # {"labels": [{"parts", "text", "said"}], "holds": [step][rank][chunk] label, "chunks": [said],
    #  "messages": [step - 1][{"src", "dst", "chunks", "labels", "said"}], "says": [step][line]}
    data = traitlets.Dict().tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)

    def __init__(self, trace: Trace, logs: Sequence[ChunkLog], title: str = TITLE) -> None:
        self.steps, self.title = ChunkSteps.of(trace, logs), title
        panel = LargePanel(title, self.steps)
        super().__init__(svg=panel.picture().svg, data=_Data(panel).content())

    def to_svg(self) -> str:
        """Return all steps as panels, as SVG text with tooltips: same messages, same bytes."""
        return collective_panels(self.title, self.steps).svg

    def words(self) -> str:
        """Return all steps as text, a line per step."""
        return collective_panels(self.title, self.steps, hover=False).words

    @traitlets.validate("step")
    def _known(self, proposal: dict[str, Any]) -> int:
        last = len(self.data["messages"]) if self.data else 0
        if not 0 <= proposal["value"] <= last:
            raise traitlets.TraitError(f"there is no step {proposal['value']}: they are 0 (before the first) to {last}")
        return proposal["value"]

    def __repr__(self) -> str:
        return f"{self.title}: {headline(self.steps)}"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict] | None:
        """Return the widget's view, and all steps as panels for use without a kernel."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is not None:
            bundle[0][SVG] = collective_panels(self.title, self.steps, hover=False).svg
        return bundle


class _Data:
    """The steps as input of widget.js; labels are deduplicated, since most cells are alike."""

    def __init__(self, panel: LargePanel) -> None:
        self.steps, self.grid = panel.steps, panel.grid
        self.labels: dict[tuple[Holding, tuple[int, ...]], int] = {}
        self.looks: list[dict[str, Any]] = []

    def content(self) -> dict[str, Any]:
        steps, count = self.steps, range(len(self.steps.chunks))
        holds = [[[self._label(held[c], c) for c in count] for held in ranks] for ranks in steps.holds]
        messages = [[self._message(message) for message in sent] for sent in steps.sent]
        says = [step_says(steps, number) for number in range(len(holds))]
        chunks = [chunk_said(c, chunk) for c, chunk in enumerate(steps.chunks)]
        return {"labels": self.looks, "holds": holds, "messages": messages, "says": says, "chunks": chunks}

    def _label(self, holding: Holding, number: int) -> int:
        chunk = self.steps.chunks[number]
        at = self.labels.setdefault((holding, chunk.ranks), len(self.looks))
        if at == len(self.looks):
            parts = sorted({rank for parts in holding for rank in parts})
            text = self.grid.fitting(shown(holding, chunk))
            self.looks.append({"parts": parts, "text": text, "said": said(holding, chunk)})
        return at

    def _message(self, message: Sent) -> dict[str, Any]:
        labels = [self._label(parts, c) for c, parts in zip(message.chunks, message.parts, strict=True)]
        return {
            "src": message.src, "dst": message.dst, "chunks": list(message.chunks), "labels": labels,
            "said": message_said(message, self.steps),
        }  # fmt: skip
