"""Interactive picture of a recorded collective: play and scrub its rounds, chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from lab_utils.render.kit import WIDTHS
from lab_utils.timeline.timeline import SVG
from lab_utils.timeline.trace import Trace
from lab_utils.widgets.collective_steps.picture import LargePanel, collective_panels
from lab_utils.widgets.collective_steps.picture_grid import Grid
from lab_utils.widgets.collective_steps.record import ChunkLog
from lab_utils.widgets.collective_steps.rounds import ChunkRounds, Holding, Sent
from lab_utils.widgets.collective_steps.sentences import chunk_said, headline, message_said, round_says, said, shown
from lab_utils.widgets.collective_steps.words import NO_ROUND, SCRIPT, TITLE
from lab_utils.widgets.kit.assets import script_and_styles

FOLDER = Path(__file__).parent


class CollectiveSteps(anywidget.AnyWidget):
    """Which rank sent which chunk to which rank in each round, and what every rank then holds of each chunk.

    Papers call a round of a collective a step.

    >>> trace = ranks.record(my_ring)                    # it returns flow.record(), see lab_utils.comm.chunk_flow
    >>> CollectiveSteps(trace, trace.results, "my ring")
    >>> _.round                                          # number of rounds shown as done; can be set

    Works for any collective that is written with send and receive. `to_svg()` has a panel per round, `words()` the same
    as text; `rounds` holds the data. ValueError unless there is one log per rank, recorded in that trace.
    """

    _esm, _css = script_and_styles(FOLDER / "widget", "dom", "card", "parts/keys", "play", words=SCRIPT)
    svg = traitlets.Unicode().tag(sync=True)
    # {"labels": [{"parts", "text", "said"}], "holds": [round][rank][chunk] label, "chunks": [said],
    #  "messages": [round - 1][{"src", "dst", "chunks", "labels", "said"}], "says": [round][line]}
    data = traitlets.Dict().tag(sync=True)
    # The same in narrower cards, with the text of each label: {"svg", "texts"}, the narrowest last.
    narrower = traitlets.List().tag(sync=True)
    round = traitlets.Int(0).tag(sync=True)

    def __init__(self, trace: Trace, logs: Sequence[ChunkLog], title: str = TITLE) -> None:
        self.rounds, self.title = ChunkRounds.of(trace, logs), title
        panel, data = LargePanel(title, self.rounds), _Data(self.rounds)
        narrow = [LargePanel(title, self.rounds, width) for width in WIDTHS[1:]]
        content = data.content(panel.grid)
        narrower = [{"svg": each.picture().svg, "texts": data.texts(each.grid)} for each in narrow]
        super().__init__(svg=panel.picture().svg, data=content, narrower=narrower)

    def to_svg(self) -> str:
        """Return all rounds as panels, as SVG text with tooltips: same messages, same bytes."""
        return collective_panels(self.title, self.rounds).svg

    def words(self) -> str:
        """Return all rounds as text, a line per round."""
        return collective_panels(self.title, self.rounds, hover=False).words

    @traitlets.validate("round")
    def _known(self, proposal: dict[str, Any]) -> int:
        last = len(self.data["messages"]) if self.data else 0
        if not 0 <= proposal["value"] <= last:
            raise traitlets.TraitError(NO_ROUND.format(round=proposal["value"], last=last))
        return proposal["value"]

    def __repr__(self) -> str:
        return f"{self.title}: {headline(self.rounds)}"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict] | None:
        """Return the widget's view, and all rounds as panels for use without a kernel."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is not None:
            bundle[0][SVG] = collective_panels(self.title, self.rounds, hover=False).svg
        return bundle


class _Data:
    """The rounds as input of widget.js; labels are deduplicated, since most cells are alike."""

    def __init__(self, rounds: ChunkRounds) -> None:
        self.rounds = rounds
        self.labels: dict[tuple[Holding, tuple[int, ...]], int] = {}
        self.looks: list[dict[str, Any]] = []
        self.shown: list[str] = []

    def texts(self, grid: Grid) -> list[str]:
        """Return what of each label fits into a cell of the grid."""
        return [grid.fitting(each) for each in self.shown]

    def content(self, grid: Grid) -> dict[str, Any]:
        rounds, count = self.rounds, range(len(self.rounds.chunks))
        holds = [[[self._label(held[c], c) for c in count] for held in ranks] for ranks in rounds.holds]
        messages = [[self._message(message) for message in sent] for sent in rounds.sent]
        says = [round_says(rounds, number) for number in range(len(holds))]
        chunks = [chunk_said(c, chunk) for c, chunk in enumerate(rounds.chunks)]
        for look, text in zip(self.looks, self.texts(grid), strict=True):
            look["text"] = text
        return {"labels": self.looks, "holds": holds, "messages": messages, "says": says, "chunks": chunks}

    def _label(self, holding: Holding, number: int) -> int:
        chunk = self.rounds.chunks[number]
        at = self.labels.setdefault((holding, chunk.ranks), len(self.looks))
        if at == len(self.looks):
            parts = sorted({rank for parts in holding for rank in parts})
            self.shown.append(shown(holding, chunk))
            self.looks.append({"parts": parts, "text": "", "said": said(holding, chunk)})
        return at

    def _message(self, message: Sent) -> dict[str, Any]:
        labels = [self._label(parts, c) for c, parts in zip(message.chunks, message.parts, strict=True)]
        return {
            "src": message.src, "dst": message.dst, "chunks": list(message.chunks), "labels": labels,
            "said": message_said(message, self.rounds),
        }  # fmt: skip
