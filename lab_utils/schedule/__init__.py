"""Pipeline schedules: the order of F, B and W on every rank, and the timeline for given costs.

>>> from lab_utils.schedule import Costs, schedules, simulate
>>> simulate(schedules.one_f_one_b(stages=4, microbatches=8), Costs(forward=1, backward_input=0.5, backward_weight=0.5))
"""

from lab_utils.schedule import schedules
from lab_utils.schedule.by_hand import why_not_next
from lab_utils.schedule.costs import Costs, simulate
from lab_utils.schedule.draft import Draft
from lab_utils.schedule.levels import LEVELS, Level
from lab_utils.schedule.recognition import recognised
from lab_utils.schedule.schedule import Schedule
from lab_utils.schedule.search.search import Found, search
from lab_utils.schedule.validity import why_not

__all__ = [
    "LEVELS", "Costs", "Draft", "Found", "Level", "Schedule", "recognised", "schedules", "search", "simulate",
    "why_not", "why_not_next",
]  # fmt: skip
