"""Pipeline schedules to choose, search for, write, place by hand, and run on real ranks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from lab_utils.schedule import LEVELS, Draft, recognised
from lab_utils.schedule.levels import after
from lab_utils.schedule.pauses import is_whole
from lab_utils.schedule.search.search import Progress
from lab_utils.timeline.timeline import SVG, Timeline
from lab_utils.widgets.kit import assets
from lab_utils.widgets.kit.assets import joined, styles
from lab_utils.widgets.kit.background import weakly
from lab_utils.widgets.schedule_explorer import sentences, words
from lab_utils.widgets.schedule_explorer.by_hand.hand import Hand, moves_of
from lab_utils.widgets.schedule_explorer.by_hand.position import loaded, written
from lab_utils.widgets.schedule_explorer.by_hand.score import about_hand, settings_of
from lab_utils.widgets.schedule_explorer.choice import FOUND, CannotRun, bound_words, chosen, stage_layout_of
from lab_utils.widgets.schedule_explorer.picture_data import Drawn
from lab_utils.widgets.schedule_explorer.run import Run, Runner
from lab_utils.widgets.schedule_explorer.searching import Search, found, is_kept
from lab_utils.widgets.schedule_explorer.settings import ABOUT, SETTING, Settings
from lab_utils.widgets.schedule_explorer.stuck import Stuck

if TYPE_CHECKING:
    from lab_utils.ranks import Ranks

FOLDER = Path(__file__).parent
SURFACE_FOLDER, SURFACE = FOLDER.parent / "timeline_view" / "js" / "drawing", ("raster", "surface", "scales", "legend")
PARTS = ("dom", "zoom", "board", "controls", "levels", "turns", "hand", "figures", "main")


class ScheduleExplorer(anywidget.AnyWidget, Settings):
    """A pipeline schedule placed in time, with controls for everything that it depends on.

    >>> explorer = ScheduleExplorer(ranks, choice="one_f_one_b", m=8)
    >>> explorer                                    # last line of a cell
    >>> explorer.schedule, explorer.timeline        # what is shown; explorer.result after a run on the ranks

    ranks   for the "run on ranks" button; None: no such button
    choice  a name in lab_utils.schedule.schedules; "found", "found_v", "found_loop" run a search; "own" takes `text`, a
            line of ops per rank; "hand" takes `moves`, [[rank, "F0"], ...], with `stage_layout` "line", "v" or "loop"
    p, m, v ranks, micro-batches, and stages per rank where a schedule leaves the choice
    forward, backward_input, backward_weight, communication   costs of a full stage and of a message, in any unit
    limit   micro-batches of a full stage that a rank may hold, or None
    level   the name of one of lab_utils.schedule.LEVELS to solve by hand, which sets all of the others; "": none
    position   a text from `explorer.position`, to go on from there. ValueError if it is none

    All but `position` can be set and observed; `says` explains an impossible setting, and the picture keeps the last
    order; of an order that cannot run it shows what runs before the ranks are stuck. `place`, `undo`, `by_hand`, `load`
    and `run` do what the buttons do; `solved` names the levels whose goal was reached, `built` the schedules that have
    the order. TraitError for numbers out of range.
    """

    _esm = "\n".join([
        joined(assets.FOLDER, "dom", "parts/alive", "parts/keys", "ticks", "theme", words=words.SCRIPT),
        joined(SURFACE_FOLDER, *SURFACE), joined(FOLDER / "js", *PARTS),
    ])  # fmt: skip
    _css = styles("card", "parts/alive", "parts/keys", FOLDER / "widget")
    says = traitlets.Unicode().tag(sync=True)
    _about = traitlets.Dict().tag(sync=True)
    _drawn = traitlets.Dict().tag(sync=True)
    _boxes = traitlets.Bytes().tag(sync=True)
    _searching = traitlets.Dict().tag(sync=True)  # progress as fraction and text; {} if no search runs
    _ran = traitlets.Dict().tag(sync=True)
    _ran_boxes = traitlets.Bytes().tag(sync=True)
    # What the browser asks for: to continue by hand before an op, -1 with all; to load; counts of requests to stop and
    # to run.
    _from_op = traitlets.Int(-2).tag(sync=True)
    _load = traitlets.Unicode().tag(sync=True)  # a position
    _stops = traitlets.Int(0).tag(sync=True)
    _runs = traitlets.Int(0).tag(sync=True)
    _run_stops = traitlets.Int(0).tag(sync=True)
    # What the browser asks for one after the other has numbers; it waits for the answer to the last.
    _asked = traitlets.Int(0).tag(sync=True)
    _answered = traitlets.Int(0).tag(sync=True)
    _from_browser = False

    def __init__(self, ranks: Ranks | None = None, *, position: str | None = None, **setting: Any) -> None:
        self._search = Search(weakly(self._tell_search), weakly(self._end_search))
        self._runner = Runner(ranks, weakly(self._show_run))
        self._key, self._hand, self._prefilled, self._settling = None, None, "", False
        self._moves_of_level: dict[str, list] = {}  # of those left before
        self.shown: Drawn | None = None
        if ranks is not None:
            setting.setdefault("p", ranks.size)
        super().__init__(_about=ABOUT | {"can_run": 0 if ranks is None else ranks.size}, **setting)
        if self.level:
            self._play(self.level, settings_of(LEVELS[self.level]), self.moves)
        if position is not None and (why := self.load(position)):
            raise ValueError(why)
        self._follow()
        if self.shown is None:  # the first choice does not support these sizes
            raise ValueError(self.says)

    @property
    def schedule(self) -> Draft:
        """The order in the picture: a Schedule, or a Draft, which by hand may lack ops, or cannot run to its end."""
        return self.shown.order

    @property
    def timeline(self) -> Timeline:
        """The order placed in time by the costs."""
        return self.shown.timeline

    @property
    def result(self) -> Run | None:
        """The last run on the ranks."""
        return self._runner.result

    def place(self, rank: int, word: str) -> str:
        """By hand: append the op "F0", or "2F0" with a stage, to the rank; return why not, or ""."""
        self.choice = "hand"
        self.moves = [*self.moves, [rank, word]]
        return self.says

    def undo(self) -> None:
        """By hand: remove the last op."""
        self.moves = self.moves[:-1]

    def by_hand(self, before: int | None = None) -> str:
        """Continue by hand from the shown order, or its ops that start before the n-th; return why not, or ""."""
        draft = self.shown.draft
        if (stage_layout := stage_layout_of(self.schedule)) is None:
            self.says = sentences.stages_elsewhere(draft.name)
            return self.says
        moves = [list(move) for move in moves_of(draft, self.shown.start, before)]
        if self.choice != "hand":
            self._set_quietly(level="")  # another's order solves no level
        with self.hold_trait_notifications():
            self.p, self.m = draft.ranks, draft.microbatches
            self.v = self.v if stage_layout != "loop" else draft.stages // draft.ranks
            self.choice, self.stage_layout, self.moves = "hand", stage_layout, moves
        return self.says

    @property
    def built(self) -> tuple[str, ...]:
        """The names in lab_utils.schedule.schedules of those that have this order; () if none has, or ops are left."""
        return recognised(self.schedule) if is_whole(self.schedule) else ()

    @property
    def position(self) -> str:
        """The order as text, for `load`: the level or the setting, then a line of ops per rank.

        ValueError for an order that cannot be placed by hand, as DualPipe, with two copies of each stage.
        """
        draft = self.shown.draft
        if self.choice == "hand":
            stage_layout, level = self.stage_layout, self.level
        elif (stage_layout := stage_layout_of(self.schedule)) is not None:
            level = ""
        else:
            raise ValueError(sentences.stages_elsewhere(draft.name))
        sizes = {"p": draft.ranks, "m": draft.microbatches, "v": draft.stages // draft.ranks}
        settings = self._settings() | sizes | {"stage_layout": stage_layout}
        # A named schedule is shown even where it holds more than the limit; by hand an op above it is refused, so the
        # text could not be loaded.
        settings["limit"] = None if self.shown.over else self.limit
        return written(draft, settings, level)

    def load(self, text: str) -> str:
        """Go on by hand from a position; return why not, with line and word, or ""."""
        try:
            level, settings, moves = loaded(text)
        except ValueError as wrong:
            self.says = str(wrong)
            return self.says
        self._play(level, settings, moves)
        return self.says

    def run(self) -> str:
        """Run the order on the ranks and compare it with serial training; return what went wrong, or ""."""
        return self._runner.run(self.schedule)

    def set_state(self, sync_data: dict) -> None:
        self._from_browser = True
        try:
            super().set_state(sync_data)
        finally:
            self._from_browser = False
            self._answered = sync_data.get("_asked", self._answered)  # also where the rest was refused

    @traitlets.observe("choice", "text", "stage_layout", "moves", *SETTING)
    def _changed(self, change: dict[str, Any]) -> None:
        if self.shown is not None and not self._settling:
            self._follow()

    @traitlets.observe("level")
    def _changed_level(self, change: dict[str, Any]) -> None:
        if self.shown is None or self._settling:
            return
        self._moves_of_level[change["old"]] = self.moves
        if self.level:
            self._play(self.level, settings_of(LEVELS[self.level]), self._moves_of_level.get(self.level, []))
        else:
            self._follow()

    @traitlets.observe("_load")
    def _asked_to_load(self, change: dict[str, Any]) -> None:
        if change["new"]:
            self._load = ""
            self.load(change["new"])

    @traitlets.observe("_from_op")
    def _asked_for_hand(self, change: dict[str, Any]) -> None:
        if change["new"] >= -1:
            self._from_op = -2
            self.by_hand(None if change["new"] < 0 else change["new"])

    @traitlets.observe("_stops")
    def _asked_to_stop(self, _: object) -> None:
        if self._stop_search():
            self.says = words.STOPPED

    @traitlets.observe("_runs")
    def _asked_for_run(self, _: object) -> None:
        run = self._runner.run_beside if self._from_browser else self._runner.run
        run(self.schedule)

    @traitlets.observe("_run_stops")
    def _asked_to_stop_the_run(self, _: object) -> None:
        self._runner.stop()

    def _follow(self) -> None:
        """Update picture and text, once for all simultaneous changes."""
        self._stop_search()  # of the previous setting
        if self.level and not settings_of(LEVELS[self.level]).items() <= self._settings().items():
            self._set_quietly(level="")
        if self._stands() == self._key:
            return
        self._key = None  # until the picture is updated
        if self.choice in FOUND and not is_kept(self.setting, FOUND[self.choice]) and not self._find():
            return
        with self.hold_sync():
            try:
                says, drawn = self._made()
            except ValueError as wrong:
                self.says = str(wrong)
            else:
                self.says, self.shown = says, drawn
                beside = self._beside()  # which may add notes to what is drawn
                self._boxes, self._drawn = drawn.boxes(), drawn.about() | beside
        self._key = self._stands()

    def _play(self, level: str, settings: dict[str, Any], moves: Sequence) -> None:
        """Go on by hand in a level, or with level "" in an instance, from these moves."""
        with self.hold_sync():
            self._set_quietly(level=level, choice="hand", moves=[list(move) for move in moves], **settings)
            self._follow()

    def _settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in (*SETTING, "stage_layout")}

    def _stands(self) -> tuple:
        return self.choice, self.setting, self.text, self.stage_layout, tuple(map(tuple, self.moves)), self.level

    def _find(self) -> bool:
        """Search for the setting; return whether it is done: for the browser `_follow` is called again when it is."""
        setting, stage_layout = self.setting, FOUND[self.choice]
        self._tell_search(Progress(0.0, inf))
        if self._from_browser:
            self._search.start(setting, stage_layout)
            return False
        try:
            with suppress(ValueError):  # raised again where the result is shown
                found(setting, stage_layout, self._tell_search)
        except KeyboardInterrupt:
            self.says = words.STOPPED
            raise
        finally:
            self._searching = {}
        return True

    def _stop_search(self) -> bool:
        stopped = self._search.stop()
        if stopped:
            self._searching = {}
        return stopped

    def _tell_search(self, now: Progress) -> None:
        says = sentences.searching(now.part, now.length if isfinite(now.length) else None)
        self._searching = {"part": now.part, "says": says}

    def _end_search(self, error: Exception | None) -> None:
        self._searching = {}
        if error is None:
            self._follow()
        else:
            self.says = str(error) or type(error).__name__

    def _show_run(self, about: dict[str, object], boxes: bytes | None) -> None:
        if boxes is not None:
            self._ran_boxes = boxes
        self._ran = about

    def _made(self) -> tuple[str, Drawn]:
        if self.choice == "hand":
            return self._made_by_hand()
        if self.choice == "own":
            self._prefill()
        if self.choice in FOUND:
            return "", Drawn.of(found(self.setting, FOUND[self.choice]).schedule, self.setting)
        try:
            says, drawn = "", Drawn.of(chosen(self.choice, self.setting, self.text), self.setting)
        except CannotRun as wrong:
            says, drawn = str(wrong), Stuck(wrong, self.setting)
        if self.choice == "own":
            self._set_quietly(p=drawn.draft.ranks, m=drawn.draft.microbatches)
        return says, drawn

    def _made_by_hand(self) -> tuple[str, Drawn]:
        whole = bool(self.level) and LEVELS[self.level].whole
        shape = self.p, self.m, self.v, self.stage_layout, self.limit, whole
        if other := self._hand is None or self._hand[0] != shape:
            self._hand = shape, Hand(self.setting, self.stage_layout, whole)
        hand, wanted = self._hand[1], len(self.moves)
        says = hand.follow(self.moves)
        if says and other:
            says = words.SOME_STAY.format(kept=len(hand.moves), wanted=wanted, why=says)
        self._set_quietly(moves=[list(move) for move in hand.moves])
        return says, Drawn.of(hand.draft, self.setting)

    def _prefill(self) -> None:
        """Start the text from the order shown before."""
        untouched = self.text in ("", self._prefilled)
        if untouched and self.shown is not None and self.schedule.name != words.TITLES["own"]:
            self._prefilled = "\n".join(self.schedule.orders)
            self._set_quietly(text=self._prefilled)

    def _set_quietly(self, **values: Any) -> None:
        """Set derived values without triggering an update."""
        self._settling = True
        try:
            for name, value in values.items():
                setattr(self, name, value)
        finally:
            self._settling = False

    def _beside(self) -> dict[str, object]:
        """Return what stands beside the picture: a remark, the level, and the offers of an order placed by hand."""
        if self.choice == "hand":
            return self._beside_hand()
        beside = {"level": self._about_level()} if self.level else {}
        if self.choice in FOUND:
            return beside | {"remark": sentences.found(found(self.setting, FOUND[self.choice]))}
        if isinstance(self.shown, Stuck):
            return beside | {"remark": self.shown.remark}
        remark = words.TWICE if self.schedule.copies > 1 else bound_words(self.schedule, self.setting)
        if self.choice == "own":
            remark = f"{sentences.built(self.built)} {remark}"
        return beside | {"remark": remark}

    def _beside_hand(self) -> dict[str, object]:
        hand, level = self._hand[1], LEVELS[self.level] if self.level else None
        about = about_hand(hand, self.shown, self.setting, self.stage_layout, level)
        if level is not None:
            if about["reached"] and self.level not in self.solved:
                self.solved = [*self.solved, self.level]
            about["level"] = self._about_level()
            self.shown.notes = [sentences.level_goal(level), about["remark"]]
        return about | {"position": self.position}

    def _about_level(self) -> dict[str, object]:
        """Return the goal, and the next level once this one is done."""
        following = after(self.level) if self.level in self.solved else ""
        return {"goal": sentences.level_goal(LEVELS[self.level]), "next": following}

    def to_svg(self) -> str:
        """Return the static picture: same order and costs, same bytes."""
        return self.shown.to_svg()

    def words(self) -> str:
        """Return the numbers, and each pause with its reason."""
        pauses = (f"- {gap.why}" for gap in self.shown.gaps)
        return "\n".join([self.shown.words(), *pauses])

    def __repr__(self) -> str:
        return self.shown.words()

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict] | None:
        """Return the widget's view, and the picture for use without a kernel."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is not None:
            bundle[0][SVG] = self.to_svg()
        return bundle
