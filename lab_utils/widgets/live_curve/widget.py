"""A progress bar and a loss curve that grow while the ranks train."""

from __future__ import annotations

import time
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from IPython.display import DisplayHandle

from lab_utils.render.curve import loss_curve, thinned
from lab_utils.render.kit import Picture
from lab_utils.timeline.timeline import SVG
from lab_utils.widgets.kit.assets import script_and_styles
from lab_utils.widgets.kit.cells import at_cell_end
from lab_utils.widgets.live_curve.words import GROWS, LOSS, SCRIPT, TITLE, TOO_FEW_STEPS

REDRAWS_PER_S = 20.0
MOST_DRAWN = 500  # limit of points sent to the browser; `points` keeps all
FOLDER = Path(__file__).parent


class LiveCurve(anywidget.AnyWidget):
    """Progress and loss of a training run of `steps` steps, drawn while it runs.

    >>> live = LiveCurve(steps=300)
    >>> live                                              # shows it, empty
    >>> ranks.run(train, on_report=live.on_report)        # train calls report(step=step, loss=loss)
    >>> live.picture()                                    # the same curve as a static picture

    Only rank 0's reports count, steps from 0 to steps - 1; a step not beyond the last one starts a new curve. At most
    20 redraws per second are sent, the last when the cell ends, so no point is lost; then the curve is stored with the
    notebook too. Without a notebook or widget support the points are still collected.
    """

    _esm, _css = script_and_styles(FOLDER / "widget", "dom", "card", "parts/alive", "ticks", words=SCRIPT)
    title = traitlets.Unicode(TITLE).tag(sync=True)
    steps = traitlets.Int(300).tag(sync=True)
    # {"points": [[step, loss], ...], "done": steps done, "loss": words, "elapsed_s", "left_s", "running": bool}
    state = traitlets.Dict().tag(sync=True)

    def __init__(self, steps: int = 300, title: str = TITLE) -> None:
        if steps < 1:
            raise ValueError(TOO_FEW_STEPS.format(steps=steps))
        self.points: list[tuple[int, float]] = []
        self._drawn_s = self._began_s = 0.0
        self._shown: list[DisplayHandle] = []
        super().__init__(steps=steps, title=title)

    def on_report(self, rank: int, values: Mapping[str, float]) -> None:
        """Record a report of step and loss; ignore other ranks and other reports."""
        if rank != 0 or not {"step", "loss"} <= values.keys():
            return
        now_s, step = time.monotonic(), int(values["step"])
        if not self.points or step <= self.points[-1][0]:
            self.points, self._began_s, self._drawn_s = [], now_s, 0.0
        self.points.append((step, float(values["loss"])))
        # Draw points held back by the redraw limit, also if the cell fails.
        at_cell_end(self.model_id, self._end)
        if step + 1 >= self.steps or now_s - self._drawn_s >= 1 / REDRAWS_PER_S:
            self._draw(now_s, running=step + 1 < self.steps)

    def picture(self) -> Picture:
        """Return the curve of all points as a static picture. ValueError before the first report."""
        return loss_curve({LOSS: self.points}, self.title)

    def _end(self) -> None:
        """Draw the last point, and give the curve to every place where it is shown."""
        self._draw(time.monotonic(), running=False)
        for handle in self._shown:
            handle.update(self._repr_mimebundle_()[0], raw=True)

    def _ipython_display_(self) -> None:
        """Show it where it can be given the curve later."""
        handle = DisplayHandle()
        self._shown.append(handle)
        handle.display(self._repr_mimebundle_()[0], raw=True)

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict] | None:
        """Return the widget's view, and the curve, once there is one, for use without a kernel."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is not None and self._has_curve:
            bundle[0][SVG] = self.picture().svg
        return bundle

    @property
    def _has_curve(self) -> bool:
        return any(isfinite(loss) for _, loss in self.points)

    def _draw(self, now_s: float, running: bool) -> None:
        """Send everything the view needs in one message."""
        self._drawn_s = now_s
        elapsed_s, done = now_s - self._began_s, self.points[-1][0] + 1
        timed = self.points[-1][0] - self.points[0][0]  # the clock started with the first report
        left_s = elapsed_s / timed * (self.steps - done) if timed else None
        shown = [[step, loss] for step, loss in self.points if isfinite(loss)]  # JSON knows no NaN
        self.state = {
            "points": thinned(shown, MOST_DRAWN),
            "done": done,
            "loss": f"{self.points[-1][1]:.3f}",
            "elapsed_s": elapsed_s,
            "left_s": left_s,
            "running": running,
        }

    def __repr__(self) -> str:
        if self._has_curve:
            return self.picture().words
        return GROWS.format(title=self.title, steps=self.steps)
