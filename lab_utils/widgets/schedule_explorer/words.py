"""The words of ScheduleExplorer and of its picture: Python's, and SCRIPT, the scripts' part.

A sentence has {placeholders} for `str.format` here and for `fill` in a script.
"""

from __future__ import annotations

from lab_utils.widgets.timeline_view.words import IDLE, RANK, SCALES

TITLES = {
    "gpipe": "GPipe", "one_f_one_b": "1F1B", "interleaved": "Interleaved 1F1B", "looped_bfs": "LoopedBFS",
    "zb_h1": "ZB-H1", "zb_h2": "ZB-H2", "zb_v": "ZB-V", "v_half": "V-Half", "v_min": "V-Min",
    "dualpipe": "DualPipe", "dualpipe_v": "DualPipeV",
    "found": "found: one stage per rank", "found_v": "found: two stages per rank, a V",
    "found_loop": "found: v stages per rank, in turn", "own": "your own order", "hand": "placed by hand",
}  # fmt: skip
STAGE_LAYOUTS = {"line": "one stage per rank", "v": "two stages per rank, a V", "loop": "v stages per rank, in turn"}

# an order: its numbers, its bound
HEADLINE, STAGES = "{name}: {sizes}", "{stages} stages"
MAKESPAN = ("makespan", "until the last op ends, in the unit of the costs")
BUBBLE_FRACTION = ("bubble fraction", "idle / (ranks × makespan)")
BUBBLE_RATE = ("bubble rate", "the zero-bubble papers': idle in the longest span of one rank")
ACTIVATIONS, OF_FULL_STAGE = "activations per rank", "micro-batches of a full stage; {allowed}"
NO_LIMIT, LIMIT = "no limit", "limit {limit}"
AT_MOST, NOT_YET = "{peak} at most", "not yet"
ALL_PEAKS = "activations per rank, in micro-batches of a full stage: {peaks}"
HOLDS, HOLDS_OF, TOO_MUCH = "holds {peak}", "holds {peak} of {limit}", "! {holds}"
FITS = "It fits: no rank holds more than {limit}."
FITS_NOT = "It does not fit: {ranks} would hold more than {limit}."
TWICE = "Each stage is on two ranks, so a rank holds twice the weights of the other schedules."
BOUND = "No order with these stages is shorter than {length}: {because}."
BOUND_WITHIN = "No order with these stages within the limit of {limit} is shorter than {length}: {because}."

# a setting
NOT_SHOWN = "{name}={value}: between 1 and {most} can be shown"
NO_MOVE = '{move!r} is no move: write [rank, "F0"]'
ABOVE_0, FROM_0 = "{name}={value}: it must be a number above 0", "{name}={value}: it must be a number of 0 or more"

# a search
STOPPED = "The search was stopped: the picture is still that of before."
FOUND, FOUND_BOUND = "Found {length} ({named}). {bound}", "Bound {length}, so {gap}: {because}."
BEST_NAMED, NONE_FITS = "best named: {title}, {length}", "no named one fits the limit"
NOTHING_SHORTER, COULD_SAVE = "nothing shorter exists", "at most {percent} % could be saved"
SEARCHING, SHORTEST = "Searching: {percent} %", "Searching: {percent} %, the shortest so far is {length}"

# an order written, or placed by hand
NO_ORDER = "no order is written: a line for each rank, such as F0 F1 BW0 BW1"
NO_RANK = "there is no rank {rank}: ranks are 0 to {last}"
ONE_AT_A_TIME = "{text} are {count} ops: place one at a time"
SOME_STAY = "{kept} of {wanted} ops stay: {why}"
STAGES_ELSEWHERE = "{name} has its stages elsewhere: by hand there is {layouts}"
NO_LEGAL_OP = "No rank has a legal op left: take some back."
LEFT, ALL_PLACED = "{count} of F, B and W are left to place.", "All ops are placed: {makespan}."
LEFT_WHOLE = "{count} of F and BW are left to place."
HOLDS_STAGE = "rank {rank} holds stage {held}, and not stage {stage}"
HOLDS_STAGES = "rank {rank} holds stages {held}, and not stage {stage}"
NO_PAR = "No par: {why}."
NONE_WITHIN = "No named schedule fits the limit, so any whole order is under par; no order is shorter than {bound}."
PAR = "Par is {par} ({title}); no order is shorter than {bound}."
ON_PAR, UNDER_PAR, OVER_PAR = "You are on par.", "You are {by} under par.", "You are {by} over par."
NO_NAME = "No named schedule has this order."
BUILT, BUILT_ALSO = "You have built {title}.", "You have built {title}, which for these sizes is {others} too."
AND = " and "

# an order that cannot run
STUCK, LACKING = "Stuck: {ran} of {ops} ops ran.", "All {ops} ops ran, and others are missing."
STANDS, STANDS_WHICH = "rank {rank} stands at {op}: {why}", "rank {rank} stands at {op}, which {why}"
STANDS_AT = "✕ {op}"
RAN_ALL, STUCK_AT, NEVER = "rank {rank} has run all its ops", "stuck at {time}", "none"

# levels
LEVEL_TITLES = {
    "gpipe": "GPipe", "memory": "a memory limit", "one_f_one_b": "1F1B", "interleaved": "interleaved 1F1B",
    "two_parts": "a backward in two parts", "zb_h1": "ZB-H1", "v": "stages in a V", "messages": "messages that cost",
}  # fmt: skip
GOALS = {
    "gpipe": "Take {m} micro-batches through all stages and back, and end by {par}; one at a time takes {before}.",
    "memory": "Hold at most {limit} of {m} micro-batches per rank, and end by {par}; GPipe holds all and takes "
    "{before}.",
    "one_f_one_b": "Hold at most {limit} of {m} micro-batches per rank, and end by {par} as GPipe does, which holds "
    "all.",
    "interleaved": "Each rank has two smaller stages, in turn: hold at most {limit} micro-batches per rank, and end by "
    "{par}; 1F1B takes {before}.",
    "two_parts": "B, for the input, and W, for the weights, are two ops now: end by {par}; 1F1B takes {before}.",
    "zb_h1": "Hold at most {limit} micro-batches per rank, fill the pauses with W, and end by {par}; 1F1B takes "
    "{before}.",
    "v": "Rank 0 has the first and the last stage, each half as long: hold at most {limit} micro-batches per rank, and "
    "end by {par}; ZB-H1 takes {before}.",
    "messages": "A message takes {message}: run further ahead, hold at most {limit} micro-batches per rank, and end by "
    "{par}; ZB-H1 takes {before}.",
}
LEVEL = "Level {number} of {count}, {title}. {goal}"
WHOLE_BACKWARD = "{op} is half a backward, and in this level a backward is one op, BW: later levels take it apart"
LEVEL_PAR, PROVEN_PAR = "Par is {par}.", "Par is {par}, and no order is shorter."
NOT_REACHED = "You are {by} over par: undo, and see what the pauses wait for."
LEVEL_DONE, NEXT_LEVEL = "Level {number} is done.", "Next is level {number}, {title}."
LAST_LEVEL = "It was the last one."

# a position as text
AT, AT_WORD = "line {line}, word {word}: {why}", "line {line}, word {word}, {text}: {why}"
NO_POSITION = "line 1: a position begins with the word 'level' and a level's name, or with 'ranks=4' and other settings"
NO_LEVEL_NAMED = "after 'level' comes the name of one: {meant}"
ENDS_WITH_LEVEL = "a line ends with the level's name, and the ranks' ops come below"
NO_FIELD = "neither 'level' nor a setting: {meant}"
FIELD_TWICE = "{field} is set twice"
FIELD_MISSING = "line {line}: the word '{field}=' and its value are missing"
ONLY_WITH_LOOP = "a line has one stage per rank and a V two: only stages=loop leaves it open"
A_NUMBER, WHOLE_NUMBER = "a number is needed", "a whole number is needed"
WANTED = {
    "p": WHOLE_NUMBER, "m": WHOLE_NUMBER, "v": WHOLE_NUMBER, "limit": "a number or none is needed",
    "stage_layout": "line, v or loop is needed",
}  # fmt: skip
RANK_BEGINS = "the line of rank {rank} begins with 'rank {rank}:'"
TOO_MANY_LINES = "there is a line for each rank, and ranks={ranks}"
LINE_MISSING = "line {line}: the words 'rank {rank}:' and that rank's ops are missing"
NO_COMMA = "a blank is needed between two ops"

# a run on the ranks
RAN = "{name} ran: {ranks} ranks, {microbatches} micro-batches, {steps} steps of a small GPT; {order}."
SAME_ORDER, OTHER_ORDER = "the order executed is the schedule's", "the ranks executed another order"
PEAKS = "activations per rank, measured {measured}; predicted {predicted}"
LAST_STEP = "last step: measured {measured}, predicted from the costs that were measured {predicted}"
NOTE = "Ranks share this computer's cores: read the order and the waits from the measured times, not which is faster."
RUNNING = "The ranks run it: {step} of {steps} steps are done."
STOPPING, RUN_STOPPED = "The ranks stop after this step.", "The run was stopped."
CANNOT_RUN = "it cannot run yet: {why}"
TOO_FEW_RANKS = "{name} is for {wanted} ranks, and there are {ranks}: choose a smaller p"
NO_RANKS = "no ranks were given: ScheduleExplorer(ranks) has a button that runs it"
LOST_RANKS = "these ranks were stopped, because nothing refers to them any more: start new ones"

SCRIPT = {
    "explorer": "Schedule explorer. {title}", "board": "The schedule in time", "described": "{label}. {text}",
    "rank": RANK, "holds": HOLDS, "holds_of": HOLDS_OF, "too_much": TOO_MUCH, "par": "par", "milliseconds": "{time} ms",
    "span": "{start} to {end}", "idle_because": "Idle {span}: {why}.",
    "op": "{op} of stage {stage} on rank {rank}: {span}.", "stands_at": STANDS_AT, "stands": "From {since} on: {why}.",
    "how": "Point at a pause or an op, or focus the picture and use the arrow keys; ? tells what all keys do.",
    "legend": "Legend", "idle": IDLE,
    "lines": "a line under an op: a rank's second virtual stage, two lines: its third",
    "zoom_in": "Zoom in", "zoom_out": "Zoom out",
    # the setting
    "schedule": "schedule", "depends_on": "What the schedule depends on",
    "p": "p, ranks", "m": "m, micro-batches", "v": "v, virtual stages per rank",
    "forward": "F, forward", "backward_input": "B, for the input", "backward_weight": "W, for the weights",
    "communication": "communication", "limit": "memory limit per rank", "no_limit": "none",
    "microbatches": "{count} micro-batches",
    "own": "A line per rank: F, B, W or BW and a micro-batch, a stage before it.",
    "own_order": "your own order, a line per rank",
    "search": "search", "stop": "Stop",
    # by hand
    "by_hand": "Place ops by hand", "go_on": "Go on by hand", "go_on_tip": "Take this order apart: undo goes back",
    "from_marked": "By hand from the marked op",
    "from_marked_tip": "Keep what starts before the op that is marked, and go on by hand",
    "stages": "stages", "undo": "Undo", "start_empty": "Start empty",
    "any_op": "any op", "any_op_of_rank": "any op for this rank", "next_ops": "Next ops of rank {rank}",
    "next": "rank {rank} next:", "none_next": "rank {rank} has run all its ops", "not_now": "{op}, not now",
    # levels, and positions as text
    "level": "level", "no_level": "no level: choose the setting", "done": "✓ {title}", "next_level": "Next: {title}",
    "position": "Save or load as text", "position_text": "The position, a line per rank",
    "load": "Load", "load_tip": "Place what the text says",
    # a run
    "run_on_one": "Run on ranks (1 rank here)", "run_on_ranks": "Run on ranks ({count} ranks here)",
    "same_scale": SCALES["same_scale"], "show_same_scale": SCALES["show_same_scale"],
    "on_own_scale": "{label} · " + SCALES["own_scale"],
    "stop_ranks": "Stop the ranks", "measured": "measured on the ranks",
    "predicted": "predicted from the measured costs",
    # on the picture
    "key_help": {
        "← →": "the pause or op before, the next one", "↑ ↓": "the rank above, the rank below",
        "Home End": "the first and the last of the rank", "Esc": "nothing is marked",
        "+ − 0": "zoom in, zoom out, show all", "f b w x": "by hand: place F, B, W, BW", "Backspace": "by hand: undo",
    },
}  # fmt: skip
