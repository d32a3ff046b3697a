"""The words of TimelineView and of its picture: Python's, and SCRIPT, the scripts' part.

A sentence has {placeholders} for `str.format` here and for `fill` in a script; where a count matters, one sentence says
one and another many.
"""

from __future__ import annotations

from lab_utils.timeline.export.words import COLUMNS, HEADLINE, MORE_RANKS, ONE_RANK, PREDICTED_FOR, RANKS
from lab_utils.timeline.hardware.words import CHANGED, NUMBERS, PER_SECOND, TIMES

TITLE = "Timeline"
SUBTITLE = "{ranks}, {kind}"
MAKESPAN, BUBBLE_FRACTION, EXPOSED = "makespan", "bubble fraction", "exposed communication per rank"
OF_MAKESPAN = "{share} of makespan"

# beside the rows and below them
TIME = "time ({unit})"
RANK, WIRE, MEMORY = "rank {rank}", "wire", "memory"
MEMORY_OF_RANK = "memory of rank {rank}: at most {peak}"
AT_MOST = "≤ {peak}"
COMPUTE, BUBBLE = "compute", "bubble"  # the columns at the right
MEANING = {
    "compute": "compute",
    "communication": "communication: the wire is busy",
    "waiting": "waiting: a partner has not entered",
    "F": "F: forward",
    "B": "B: backward, for the input",
    "W": "W: backward, for the weights",
    "BW": "BW: both backwards",
}
WAITING_OR_QUEUED = "waiting: a partner has not entered, or the wire is taken"
IDLE = "idle"
LANES = ("upper lane: the rank's own stream", "lower lane: the wire")
STRIP = "strip below: memory held, its highest on the right"

# of a mark
GROUP = "group {group}, number {seq}"
WORLD = "world"  # a group without a name
RUN_AS = "run as {run_as}"  # where the backend ran another collective in its place
TO_RANK, FROM_RANK = "to rank {peer}, number {seq}, tag {tag}", "from rank {peer}, number {seq}, tag {tag}"
MOVED_BY_ONE, MOVED = "{bytes} moved by 1 kernel", "{bytes} moved by {kernels} kernels"
PHASE = "phase {phase}"
WHEN = "start {start}, duration {duration}"
WHEN_ON_RANK = "rank {rank}: start {start}, duration {duration}"
ACTIVITY = "rank {rank} {activity}: start {start}, duration {duration}"
SHORT_STRETCHES = "{count} short stretches ({parts})"
SHORT_PHASES = "{count} short phases: {names}"

# of a slider
MOVED_LINK = "{latency} and {bandwidth}/s"
COSTS = (
    ("forward", "forward"), ("backward_input", "backward, input"), ("backward_weight", "backward, weights"),
    ("comm", "communication"),
)  # fmt: skip

# what it refuses
UNEQUAL_RANKS = "measured and timeline have {sizes} ranks: both must be of the same ranks"
TOO_MANY_SPANS = (
    "{count:,} spans are more than a browser can hold, {most:,} is the most: show fewer steps, or timeline.to_svg()"
)
MOVES = "{name} is set, and this view moves {moved}"
MOVES_NOTHING = "{name} is set, and this view is of a measured timeline"
AND = " and "
UNKNOWN_NODES = "ranks_per_node={ranks}: this view knows {known}; give such a hardware when you make it"
ONLY_TIMES = "sliders move times only: give other activation_bytes to simulate(schedule, costs)"
STAGES_TOGETHER = (
    "{name}={value}: this view moves the stages together, as they were given; show simulate(schedule, costs) instead"
)
NO_TRACE = (
    "hardware is given, and this timeline is {kind} without a trace to place on it: give trace.timeline(hardware)"
)

# measured above predicted
SCALES = {
    "own_scale": "own scale: {time} across", "same_scale": "same scale",
    "show_same_scale": "Draw measured and predicted on one scale of time",
}  # fmt: skip

SCRIPT = {
    "title": TITLE, "subtitle": SUBTITLE, "above": " above ", "headline": HEADLINE,
    "one_rank": ONE_RANK, "ranks": RANKS, "one_byte": "1 byte", "bytes": "{count} bytes", "flop": "{count} FLOP",
    "makespan": MAKESPAN, "bubble_fraction": BUBBLE_FRACTION, "exposed": EXPOSED,
    "numbers_of_ranks": "Numbers of each rank", "more_ranks": MORE_RANKS,
    "column_rank": COLUMNS["rank"], "column_compute": COLUMNS["compute"],
    "column_communication": COLUMNS["communication"], "column_waiting": COLUMNS["waiting"],
    "column_idle": COLUMNS["idle"], "column_bubble": COLUMNS["bubble"],
    # the picture
    "time": TIME, "rank": RANK, "wire": WIRE, "memory": MEMORY, "at_most": AT_MOST, "compute": COMPUTE,
    "bubble": BUBBLE, "legend": "Legend", "empty": "Nothing to show: no op takes any time.",
    # a mark
    "group": GROUP, "world": WORLD, "run_as": RUN_AS, "to_rank": TO_RANK, "from_rank": FROM_RANK,
    "one_kernel": "1 kernel", "kernels": "{count} kernels",
    "phase": PHASE, "activity": ACTIVITY, "when_on_rank": WHEN_ON_RANK,
    "short_stretches": "{count} short stretches: zoom in to tell them apart",
    "no_partner": "waits for a partner whose side is not in the trace", "wire_busy": "waits for its turn on the wire",
    "waits": "waits for rank {rank}{source}, which entered at {time}",
    "waits_and_queues": "waits for rank {rank}{source}, which entered at {time}, then for its turn on the wire",
    "waited": "waited for rank {rank}{source}, which entered at {time}",
    # a moment
    "doing": "at {time}: of {ranks} {parts}",
    "one_computes": "{count} computes", "compute_many": "{count} compute",
    "one_communicates": "{count} communicates", "communicate_many": "{count} communicate",
    "one_waits": "{count} waits", "wait_many": "{count} wait",
    "one_idle": "{count} is idle", "idle_many": "{count} are idle",
    **SCALES, "before": "before: {time}",
    # what can be done
    "keys": "Picture of the timeline. Left and right move it, plus and minus zoom, 0 shows all; n and p go from op to "
            "op, up and down from lane to lane, Enter selects the op, Escape selects nothing; space plays.",
    "hint": "drag moves · a click selects an op and lets the wheel zoom · shift and drag select · "
            "keys: ← → + − 0 n p ↑ ↓ Enter",
    "key_help": {
        "← →": "earlier, later", "+ − 0": "zoom in, zoom out, show all",
        "n p": "the next op of the lane, the one before", "↑ ↓": "the lane above, the lane below",
        "Enter": "select the op", "Esc": "nothing is selected", "Space": "play, pause",
    },
    "play": "Play", "pause": "Pause", "time_shown": "Time shown",
    "critical_path": "critical path", "show_critical_path": "Show the critical path: what decides the makespan",
    "zoom_in": "Zoom in", "zoom_out": "Zoom out", "whole": "whole", "show_whole": "Show all of it",
    "nothing_selected": "nothing selected", "one_selected": "1 stretch selected, {time} together",
    "selected": "{count} stretches selected, {time} together",
    # sliders
    "hardware": "Hardware", "costs": "Costs", "which_hardware": "hardware", "as_given": "as given",
    "back_to_hardware": "Set the sliders back to the chosen hardware",
    "back_to_costs": "Set the sliders back to the given costs",
    "hardware_numbers": NUMBERS, "cost_numbers": COSTS, "per_second": PER_SECOND, "times": TIMES,
    "predicted_for": PREDICTED_FOR, "changed": CHANGED,
}  # fmt: skip
