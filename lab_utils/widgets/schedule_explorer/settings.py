"""ScheduleExplorer's settings and their limits."""

from __future__ import annotations

from typing import Any

import traitlets

from lab_utils.schedule import LEVELS, Costs
from lab_utils.widgets.schedule_explorer import words
from lab_utils.widgets.schedule_explorer.choice import MOST, WITH_VIRTUAL_STAGES, Setting
from lab_utils.widgets.schedule_explorer.picture_data import STYLE

COSTS = ("forward", "backward_input", "backward_weight", "communication")
SETTING = ("p", "m", "v", *COSTS, "limit")
ABOUT = {
    "style": STYLE, "titles": words.TITLES, "stage_layouts": words.STAGE_LAYOUTS,
    "with_virtual_stages": [*WITH_VIRTUAL_STAGES, "found_loop"],
    "levels": {name: f"{number} {words.LEVEL_TITLES[name]}" for number, name in enumerate(LEVELS, start=1)},
}  # fmt: skip
MAY_BE_0 = ("backward_input", "backward_weight", "communication")


class Settings(traitlets.HasTraits):
    """Traits set by controls or from Python; TraitError for numbers out of range."""

    choice = traitlets.Enum(list(words.TITLES), "one_f_one_b").tag(sync=True)
    p = traitlets.Int(4).tag(sync=True)
    m = traitlets.Int(8).tag(sync=True)
    v = traitlets.Int(2).tag(sync=True)
    forward = traitlets.Float(1.0).tag(sync=True)
    backward_input = traitlets.Float(1.0).tag(sync=True)
    backward_weight = traitlets.Float(1.0).tag(sync=True)
    communication = traitlets.Float(0.0).tag(sync=True)
    limit = traitlets.Float(None, allow_none=True).tag(sync=True)
    text = traitlets.Unicode().tag(sync=True)
    stage_layout = traitlets.Enum(list(words.STAGE_LAYOUTS), "line").tag(sync=True)
    moves = traitlets.List().tag(sync=True)
    level = traitlets.Enum(["", *LEVELS], "").tag(sync=True)
    solved = traitlets.List().tag(sync=True)  # names of levels

    @property
    def setting(self) -> Setting:
        f, b, w, comm = (getattr(self, name) for name in COSTS)
        return Setting(self.p, self.m, self.v, Costs(f, b, w, comm), self.limit)

    @traitlets.validate(*MOST)
    def _sized(self, proposal: dict[str, Any]) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        if not 1 <= value <= MOST[name]:
            raise traitlets.TraitError(words.NOT_SHOWN.format(name=name, value=value, most=MOST[name]))
        return value

    @traitlets.validate("moves")
    def _paired(self, proposal: dict[str, Any]) -> list:
        for move in proposal["value"]:
            if len(move) != 2 or not isinstance(move[0], int) or not isinstance(move[1], str):
                raise traitlets.TraitError(words.NO_MOVE.format(move=move))
        return proposal["value"]

    @traitlets.validate(*COSTS, "limit")
    def _numbered(self, proposal: dict[str, Any]) -> float | None:
        name, value = proposal["trait"].name, proposal["value"]
        least = 0 if name in MAY_BE_0 else 1e-6
        if value is not None and not least <= value < float("inf"):
            raise traitlets.TraitError((words.ABOVE_0 if least else words.FROM_0).format(name=name, value=value))
        return value
