"""The words of RanksStatus: Python's, and SCRIPT, the scripts' part, with {placeholders}."""

from __future__ import annotations

SCRIPT = {
    "rank": "rank", "memory": "memory", "doing": "doing", "for": "for", "waits_for": "waits for",
    "last_seen": "This is what they did last.",
}  # fmt: skip

WHEN_SHOWN = "when this cell ran"
ROW, ROW_WAITS = "rank {rank}: {doing}", "rank {rank}: {doing}, waits for {waits_for}"
LOST = "Stopped: nothing refers to these ranks any more."
STOPPED = "These ranks are stopped: ranks.restart() starts them again."
NO_LOOK = "Cannot read the status of the ranks now: {error}."
AT_WORK, IDLE = "At work.", "Idle: no call runs."
MEMORY = "{size} MB"
HOURS, MINUTES, SECONDS = "{count} h", "{count} min", "{count} s"
TITLE, TITLE_OF_ONE, STATUS_OF = "What the {ranks} do", "What the rank does", "status of {ranks}"
ONE_GONE, SOME_GONE = (
    "{ranks} is gone: the next ranks.run starts it again.",
    "{ranks} are gone: the next ranks.run starts them again.",
)
ONE_STOPPED, SOME_STOPPED = (
    "{ranks} is stopped by a signal: SIGCONT lets it go on.",
    "{ranks} are stopped by a signal: SIGCONT lets them go on.",
)
NO_TIME = "every_s={every_s}: the time between two looks must be more than 0 seconds"
