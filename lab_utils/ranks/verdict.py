"""What a call that has ended on every rank comes to: answers, or one error that says what went wrong."""

from __future__ import annotations

from collections.abc import Mapping

from lab_utils.ranks.call import GIVE_UP_S, Call
from lab_utils.ranks.diagnosis import Diagnosis, diagnose
from lab_utils.ranks.errors import Failure, RankDied, RankError, RanksError, RanksStuck


def error_of(call: Call, dead: Mapping[int, int], memory_kills: int, lost: str) -> RanksError | None:
    """The error to raise for a call that has ended, None when all went well.

    dead          {rank: exit code} of ranks that ended during the call
    memory_kills  how many processes the system killed for want of memory meanwhile
    lost          why all of them were ended, "" when they were not
    """
    failures = [answer.failure for answer in call.answers.values() if answer.failure]
    if dead:
        return RankDied(dict(dead), failures, _how(call, dead, memory_kills, lost))
    if call.diagnosis is not None:
        return RanksStuck(call.diagnosis, failures)
    if not failures:
        return None
    if any(failure.own for failure in failures):
        return RankError(failures)
    diagnosis = _diagnose(call, failures)
    return RankError(failures) if diagnosis is None else RanksStuck(diagnosis, failures)


def _how(call: Call, dead: Mapping[int, int], memory_kills: int, lost: str) -> dict[int, str]:
    if lost:
        return dict.fromkeys(dead, lost)
    how = dict.fromkeys(call.given_up, f"took no notice of interrupts for {GIVE_UP_S:g} s and was ended")
    if memory_kills:
        for rank in [rank for rank, code in dead.items() if code == -9 and rank not in how]:
            how[rank] = "was ended by the system, which had no memory left (SIGKILL)"
    return how


def _diagnose(call: Call, failures: list[Failure]) -> Diagnosis | None:
    """No rank began it by an error of its own: they waited for each other, and an op gave up.

    Where ranks stood is known from when their op failed; of those that were interrupted, from before that.
    """
    waited = [failure for failure in failures if failure.op or failure.mismatch]
    standings = call.standings | {f.rank: f.standing for f in waited if f.standing is not None}
    fates = {rank: fate for rank, fate in call.fates.items() if fate in ("returned", "absent")}
    silent = {rank: fate for rank, fate in call.watch.fates_of(standings).items() if rank not in fates}
    found = diagnose(standings, {**silent, **fates})
    said = next((failure for failure in waited if failure.mismatch), None)
    if found is None and said is not None:  # it was long ago: what was issued then is forgotten
        return Diagnosis("mismatch", (said.rank,), said.mismatch, said.where(), True)
    return found
