"""Interactive timeline: zoom, play, inspect ops, and move sliders that simulate the trace again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from IPython import get_ipython

from lab_utils.render import palette
from lab_utils.schedule import Costs
from lab_utils.timeline.hardware import Hardware
from lab_utils.timeline.span import Span
from lab_utils.timeline.timeline import LIVE, SVG, Timeline, headline, summary
from lab_utils.widgets.kit import assets
from lab_utils.widgets.kit.assets import joined, styles
from lab_utils.widgets.kit.cells import close_with_output
from lab_utils.widgets.timeline_view import words
from lab_utils.widgets.timeline_view.arrays import PAINTS, Pack, pack_timeline
from lab_utils.widgets.timeline_view.legend import meanings, rows_note
from lab_utils.widgets.timeline_view.sliders import PER_STAGE, sliders_of

MOST_SPANS = 1_000_000  # about 100 bytes per span are sent to the browser
FOLDER = Path(__file__).parent
PARTS = (
    *(f"model/{name}" for name in ("arrays", "place", "spans", "memory", "figure", "words", "layout", "marks")),
    *(f"drawing/{name}" for name in ("raster", "surface", "scales", "picture", "strips", "overlay", "chart", "legend")),
    *(f"controls/{name}" for name in ("interactive_chart", "input", "dom", "sliders", "card", "main")),
)
STYLE = palette.in_both_themes({
    "font": palette.FONT,
    "looks": [asdict(palette.PAINTS[name]) for name in PAINTS],
    "phases": palette.PHASES,
    "memory": palette.MEMORY,
    "colors": palette.COLORS,
})  # fmt: skip


class TimelineView(anywidget.AnyWidget):
    """A timeline to zoom, play and inspect, with sliders for the hardware of a trace or the costs of a schedule.

    >>> view = TimelineView(trace.timeline(hardware), measured=trace.timeline())
    >>> view                                    # last line of a cell
    >>> view.selected_spans                     # clicked, or dragged over with shift
    >>> view.hardware, view.timeline            # the sliders' values, and the trace simulated with them

    timeline  predicted or measured
    measured  shown above it, on the same time axis
    hardware  choices besides the one that the timeline was predicted for

    `selected` and `selected_measured` hold positions in `view.timeline.spans` and `view.measured.spans`; they, and
    `hardware` (`costs` of a schedule), can be observed and set; None resets them. While a slider moves the browser
    places the ops itself; Python receives the final value. ValueError for more than a million spans, different numbers
    of ranks, or hardware passed for a timeline that was not predicted from a trace.
    """

    _esm = "\n".join([
        joined(assets.FOLDER, "dom", "parts/keys", "ticks", "theme", words=words.SCRIPT), joined(FOLDER / "js", *PARTS),
    ])  # fmt: skip
    _css = styles("card", "parts/keys", FOLDER / "widget")
    _about = traitlets.Dict().tag(sync=True)
    _data = traitlets.Bytes().tag(sync=True)
    _setting = traitlets.Dict().tag(sync=True)  # the sliders' numbers, and the choice they started from
    selected = traitlets.List(traitlets.Int()).tag(sync=True)
    selected_measured = traitlets.List(traitlets.Int()).tag(sync=True)
    hardware = traitlets.Instance(Hardware, allow_none=True)
    costs = traitlets.Instance(Costs, allow_none=True)

    def __init__(self, timeline: Timeline, measured: Timeline | None = None, hardware: Sequence[Hardware] = ()) -> None:
        shown = [timeline] if measured is None else [measured, timeline]
        _check(shown)
        self.measured, self._timeline, self._sliders = measured, timeline, sliders_of(timeline, hardware)
        choices = self._sliders.choices if self._sliders else []
        layouts = {getattr(choice, "ranks_per_node", None): None for choice in choices}
        pack = Pack()
        figures = [pack_timeline(pack, f"{at}.", each, layouts) for at, each in enumerate(shown)]
        self._placed_on = choices[0] if choices else None
        given = {self._sliders.name: self._placed_on} if choices else {}
        setting = {**self._sliders.numbers(self._placed_on), "choice": 0} if choices else {}
        super().__init__(_about=self._described(shown, figures, pack), _data=pack.data, _setting=setting, **given)

    def _described(self, shown: list[Timeline], figures: list[dict[str, Any]], pack: Pack) -> dict[str, Any]:
        used = {PAINTS[paint] for figure in figures for paint in figure["paints"]}
        lanes = any((each.columns.lane == 1).any() for each in shown)
        meant = [(PAINTS.index(name), meaning) for name, meaning in meanings(used, shown).items()]
        return {
            "title": headline(shown[-1]), "arrays": pack.table, "strings": pack.strings,
            "figures": figures, "style": STYLE, "legend": [*meant, (None, words.IDLE)],
            "rows_note": rows_note(lanes, any(each.memory for each in shown)),
            **self._choices(),
        }  # fmt: skip

    def _choices(self) -> dict[str, Any]:
        if (sliders := self._sliders) is None:
            return {"sets": "", "choices": []}
        by_stage = [name for name in PER_STAGE if np.ndim(getattr(sliders.choices[0], name, 0))]
        choices = [self._choice(choice) for choice in sliders.choices]
        return {"sets": sliders.name, "choices": choices, "by_stage": by_stage}

    def _choice(self, choice: Hardware | Costs) -> dict[str, Any]:
        sliders, (name, base) = self._sliders, self._sliders.base(choice)
        about = {"label": sliders.label(choice), "base_name": name, "base": sliders.numbers(base)}
        return {**sliders.numbers(choice), **about}

    @property
    def timeline(self) -> Timeline:
        """The timeline for the sliders' values, simulated on access."""
        stands = self._sliders and getattr(self, self._sliders.name)
        if stands != self._placed_on:
            choice = self._sliders.choices[self._setting["choice"]]
            self._timeline, self._placed_on = self._sliders.place(stands, choice), stands
        return self._timeline

    @property
    def selected_spans(self) -> tuple[Span, ...]:
        """The selected spans, those of the measured timeline first."""
        above = () if self.measured is None else (self.measured.spans[at] for at in self.selected_measured)
        return (*above, *(self.timeline.spans[at] for at in self.selected))

    def to_svg(self) -> str:
        """Return the static picture of `timeline`: same timeline, same bytes."""
        return self.timeline.to_svg()

    @traitlets.observe("_setting")
    def _follow(self, change: dict[str, Any]) -> None:
        """Apply sliders moved in the browser."""
        if self._sliders and self._setting != self._told(getattr(self, self._sliders.name)):
            setattr(self, self._sliders.name, self._sliders.value(change["new"]))

    @traitlets.observe("hardware", "costs")
    def _move(self, change: dict[str, Any]) -> None:
        """Apply values set from Python; None resets to the first choice."""
        if not self._setting:
            return
        if change["new"] is None:
            setattr(self, change["name"], self._sliders.choices[0])
            return
        self._setting = self._told(change["new"])

    def _told(self, value: Hardware | Costs) -> dict[str, Any]:
        """Return the setting for a value, with its choice if it is one."""
        choices = self._sliders.choices
        chosen = choices.index(value) if value in choices else self._setting["choice"]
        return {**self._sliders.numbers(value), "choice": chosen}

    @traitlets.validate("hardware", "costs")
    def _check_value(self, proposal: dict[str, Any]) -> Hardware | Costs | None:
        value, name = proposal["value"], proposal["trait"].name
        if value is None:
            return None
        if self._sliders is None or self._sliders.name != name:
            if self._sliders is None:
                raise ValueError(words.MOVES_NOTHING.format(name=name))
            raise ValueError(words.MOVES.format(name=name, moved=self._sliders.name))
        return self._sliders.accepted(value)

    def __repr__(self) -> str:
        above = () if self.measured is None else (summary(self.measured),)
        return "\n\n".join((*above, summary(self.timeline)))

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = super()._repr_mimebundle_()
        return data | {SVG: self.to_svg()}, metadata


def live(timeline: Timeline) -> dict[str, Any] | None:
    """Return a view of the timeline as a notebook's output; None in a terminal, or for more than MOST_SPANS spans.

    The view is closed when the cell runs again; the timeline is not.
    """
    if getattr(get_ipython(), "kernel", None) is None or len(timeline.columns) > MOST_SPANS:
        return None
    view = TimelineView(timeline)
    close_with_output(view)
    return anywidget.AnyWidget._repr_mimebundle_(view)[0][LIVE]  # the timeline itself adds its static picture


def _check(shown: list[Timeline]) -> None:
    if len({each.world_size for each in shown}) > 1:
        raise ValueError(words.UNEQUAL_RANKS.format(sizes=words.AND.join(str(each.world_size) for each in shown)))
    for each in shown:
        if len(each.columns) > MOST_SPANS:
            raise ValueError(words.TOO_MANY_SPANS.format(count=len(each.columns), most=MOST_SPANS))
