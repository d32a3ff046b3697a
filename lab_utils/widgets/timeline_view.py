"""The timeline as a picture to touch: zoom, play, ask an op, and move sliders that place the trace anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from IPython import get_ipython

from lab_utils.render import legend, looks, palette
from lab_utils.timeline.hardware import Hardware, Link
from lab_utils.timeline.predicted import costs, simulate
from lab_utils.timeline.span import Span
from lab_utils.timeline.summary import headline, summary
from lab_utils.timeline.timeline import LIVE, SVG, Timeline
from lab_utils.timeline.units import bytes_text, time_text
from lab_utils.widgets.modules import joined
from lab_utils.widgets.timeline_pack import PAINTS, Pack, numbers, pack_timeline

MOST_SPANS = 1_000_000  # about 100 bytes each go to the browser
FOLDER = Path(__file__).parent
PARTS = (
    "arrays", "place", "spans", "figure", "words", "layout", "marks", "raster", "surface", "picture", "strips",
    "overlay", "stage", "acting", "hands", "dom", "sliders", "card", "main",
)  # fmt: skip
STYLE = {
    "font": palette.FONT,
    "looks": [asdict(palette.PAINTS[name]) for name in PAINTS],
    "phases": palette.PHASES,
    "memory": palette.MEMORY,
    "colors": {
        "card": palette.CARD, "card_edge": palette.CARD_EDGE, "lane": palette.LANE, "grid": palette.GRID,
        "ink": palette.INK, "quiet_ink": palette.QUIET_INK, "strong": looks.STRONG,
        "accent": palette.ACTIVITIES["compute"].fill,
    },
}  # fmt: skip


class TimelineView(anywidget.AnyWidget):
    """A timeline to zoom, play and ask, with sliders for the hardware where it was predicted from a trace.

    >>> view = TimelineView(trace.timeline(hardware), measured=trace.timeline())
    >>> view                                    # last line of a cell
    >>> view.selected_spans                     # what was clicked, or dragged over with shift
    >>> view.hardware, view.timeline            # where the sliders stand, and the trace placed there

    timeline  predicted or measured
    measured  shown above it, on the same axis of time
    hardware  more to choose from, besides the one that the timeline was predicted for

    `selected` and `selected_measured` hold positions in `view.timeline.spans` and `view.measured.spans`; they, and
    `hardware`, can be observed and set. The browser places the trace itself while a slider moves; Python hears where
    it comes to rest. ValueError when there are more than a million spans, numbers of ranks differ, or hardware is
    given for a timeline that was not predicted from a trace.
    """

    _esm = joined("timeline", *PARTS)
    _css = FOLDER / "timeline_view.css"
    _about = traitlets.Dict().tag(sync=True)
    _data = traitlets.Bytes().tag(sync=True)
    _setting = traitlets.Dict().tag(sync=True)  # numbers of a hardware, and which of the choices they began with
    selected = traitlets.List(traitlets.Int()).tag(sync=True)
    selected_measured = traitlets.List(traitlets.Int()).tag(sync=True)
    hardware = traitlets.Instance(Hardware, allow_none=True)

    def __init__(self, timeline: Timeline, measured: Timeline | None = None, hardware: Sequence[Hardware] = ()) -> None:
        shown = [timeline] if measured is None else [measured, timeline]
        _check(shown)
        self.measured, self._timeline, self._choices = measured, timeline, _choices(timeline, hardware)
        layouts = {choice.ranks_per_node: None for choice in self._choices}
        pack = Pack()
        figures = [pack_timeline(pack, f"{at}.", each, layouts) for at, each in enumerate(shown)]
        given = self._choices[0] if self._choices else None
        super().__init__(
            _about=self._described(shown, figures, pack), _data=pack.data, hardware=given,
            _setting={} if given is None else {**numbers(given), "choice": 0},
        )  # fmt: skip

    def _described(self, shown: list[Timeline], figures: list[dict[str, Any]], pack: Pack) -> dict[str, Any]:
        used = {paint for figure in figures for paint in figure["paints"]}
        lanes = any((each.columns.lane == 1).any() for each in shown)
        meanings = [(at, legend.MEANING[name]) for at, name in enumerate(PAINTS) if at in used]
        return {
            "title": headline(shown[-1]), "arrays": pack.table, "strings": pack.strings,
            "figures": figures, "style": STYLE, "legend": [*meanings, (None, "idle")],
            "lanes_note": legend.LANES if lanes else "",
            "choices": [{**numbers(choice), "label": choice.name} for choice in self._choices],
        }  # fmt: skip

    @property
    def timeline(self) -> Timeline:
        """The timeline as the sliders stand; placed when it is asked for."""
        made_from = self._timeline.prediction
        if self.hardware is not None and self.hardware != made_from.hardware:
            self._timeline = simulate(made_from.trace, self.hardware)
        return self._timeline

    @property
    def selected_spans(self) -> tuple[Span, ...]:
        """What is selected: of the measured timeline first, then of the other."""
        above = () if self.measured is None else (self.measured.spans[at] for at in self.selected_measured)
        return (*above, *(self.timeline.spans[at] for at in self.selected))

    def to_svg(self) -> str:
        """The still picture of `timeline`: same timeline, same bytes."""
        return self.timeline.to_svg()

    @traitlets.observe("_setting")
    def _follow(self, change: dict[str, Any]) -> None:
        """The browser has moved the sliders."""
        if self._choices and change["new"] != {**numbers(self.hardware), "choice": change["new"]["choice"]}:
            self.hardware = _hardware_of(self._choices[change["new"]["choice"]], change["new"])

    @traitlets.observe("hardware")
    def _move(self, change: dict[str, Any]) -> None:
        """Python has moved them; None is back to the given hardware."""
        if not self._setting:
            return
        if change["new"] is None:
            self.hardware = self._choices[0]
            return
        choice = self._setting["choice"]
        if change["new"] in self._choices:
            choice = self._choices.index(change["new"])
        self._setting = {**numbers(change["new"]), "choice": choice}

    @traitlets.validate("hardware")
    def _check_hardware(self, proposal: dict[str, Any]) -> Hardware | None:
        hardware, known = proposal["value"], [choice.ranks_per_node for choice in self._choices]
        if hardware is not None and hardware.ranks_per_node not in known:
            raise ValueError(
                f"ranks_per_node={hardware.ranks_per_node}: this view knows {', '.join(map(str, known)) or 'none'}; "
                "give such a hardware when you make it"
            )
        return hardware

    def __repr__(self) -> str:
        above = () if self.measured is None else (summary(self.measured),)
        return "\n\n".join((*above, summary(self.timeline)))

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = super()._repr_mimebundle_()
        return data | {SVG: self.to_svg()}, metadata


def live(timeline: Timeline) -> dict[str, Any] | None:
    """A view of the timeline as a notebook's output; None where none can live: in a terminal, or if it is huge."""
    if getattr(get_ipython(), "kernel", None) is None or len(timeline.columns) > MOST_SPANS:
        return None
    view = TimelineView(timeline)
    return anywidget.AnyWidget._repr_mimebundle_(view)[0][LIVE]  # its still picture is the timeline's own


def _check(shown: list[Timeline]) -> None:
    if len({each.world_size for each in shown}) > 1:
        sizes = " and ".join(str(each.world_size) for each in shown)
        raise ValueError(f"measured and timeline have {sizes} ranks: both must be of the same ranks")
    for each in shown:
        if len(each.columns) > MOST_SPANS:
            raise ValueError(
                f"{len(each.columns):,} spans are more than a browser can hold, {MOST_SPANS:,} is the most: "
                "show fewer steps, or timeline.to_svg()"
            )


def _choices(timeline: Timeline, more: Sequence[Hardware]) -> list[Hardware]:
    """What a person can choose from, the timeline's own first; each is tried, so that no slider fails later."""
    lowered = getattr(timeline.prediction, "lowered", None)
    if lowered is None:
        if more:
            raise ValueError(
                f"hardware is given, and this timeline is {timeline.kind} without a trace to place on it: "
                "give trace.timeline(hardware)"
            )
        return []
    given = timeline.prediction.hardware
    choices = [given, *(each for each in more if each != given)]
    for choice in choices[1:]:
        costs(lowered, choice)
    return choices


def _hardware_of(choice: Hardware, setting: dict[str, Any]) -> Hardware:
    """The chosen hardware with the sliders' numbers; a link with other numbers is named by them."""
    link = _link(choice.link, setting["latency_s"], setting["bytes_per_s"])
    across = choice.across and _link(choice.across, setting["across_latency_s"], setting["across_bytes_per_s"])
    return replace(choice, link=link, across=across, compute_scale=setting["compute_scale"])


def _link(link: Link, latency_s: float, bytes_per_s: float) -> Link:
    if (latency_s, bytes_per_s) == (link.latency_s, link.bytes_per_s):
        return link
    return Link(f"{time_text(latency_s)} and {bytes_text(bytes_per_s)}/s", latency_s, bytes_per_s)
