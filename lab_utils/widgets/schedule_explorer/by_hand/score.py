"""How far an order placed by hand has come: what is left, its name, and par, of a level or the best named schedule."""

from __future__ import annotations

from typing import Any

from lab_utils.schedule import Level, recognised
from lab_utils.schedule.pauses import amount
from lab_utils.widgets.schedule_explorer import sentences, words
from lab_utils.widgets.schedule_explorer.by_hand.hand import Hand
from lab_utils.widgets.schedule_explorer.choice import Setting, par_of
from lab_utils.widgets.schedule_explorer.picture_data import Drawn


def settings_of(level: Level) -> dict[str, Any]:
    """Return the settings of ScheduleExplorer that make up the level's instance."""
    costs = level.costs
    virtual_stages = {"v": level.virtual_stages} if level.stage_layout == "loop" else {}
    return virtual_stages | {
        "p": level.ranks, "m": level.microbatches, "stage_layout": level.stage_layout, "limit": level.limit,
        "forward": costs.forward, "backward_input": costs.backward_input, "backward_weight": costs.backward_weight,
        "communication": costs.comm,
    }  # fmt: skip


def about_hand(hand: Hand, drawn: Drawn, setting: Setting, stage_layout: str, level: Level | None) -> dict[str, object]:
    """Return for the browser the next ops, what is said of the order, and par.

    reached   whether the order reaches the level's goal
    """
    offers = [list(offer) for offer in hand.offers()]
    stuck = hand.left and all(why for _, _, why in offers)
    says = words.NO_LEGAL_OP if stuck else _standing(hand, drawn)
    about = {"offers": offers, "left": hand.left, "extent": drawn.makespan}
    if level is not None:
        reached = not hand.left and level.is_reached(hand.draft)
        remark = sentences.against_level(hand.left, drawn.makespan, level, reached)
        return about | _beside(hand, drawn, level.par) | {"remark": f"{says} {remark}", "reached": reached}
    try:
        best = par_of(setting, stage_layout)
    except ValueError as wrong:  # the limit is too small for any order
        return about | {"remark": f"{says} {words.NO_PAR.format(why=wrong)}"}
    par = min(best.named.values(), default=best.bound.length)
    remark = sentences.against_par(hand.left, drawn.makespan, best)
    return about | _beside(hand, drawn, par) | {"remark": f"{says} {remark}"}


def _beside(hand: Hand, drawn: Drawn, par: float) -> dict[str, float]:
    return {"par": par, "extent": max(drawn.makespan, par) if hand.left else drawn.makespan}


def _standing(hand: Hand, drawn: Drawn) -> str:
    if hand.left:
        return (words.LEFT_WHOLE if hand.whole else words.LEFT).format(count=hand.left)
    placed = words.ALL_PLACED.format(makespan=amount(drawn.makespan))
    return f"{placed} {sentences.built(recognised(hand.draft))}"
