"""Makes one fault after the other on the same ranks: was it named, are the ranks usable, is anything left?"""

from __future__ import annotations

import io
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import partial
from typing import Any

import psutil

from lab_utils.ranks import Ranks
from lab_utils.ranks.processes.checks import check_request
from lab_utils.ranks.processes.child_processes import CAN_FORK
from lab_utils.ranks.processes.reaper import still_running
from lab_utils.ranks.session import GROUP_TIMEOUT_S
from lab_utils.soak import on_rank
from lab_utils.soak.beacon import Beacon
from lab_utils.soak.diary import Reader
from lab_utils.soak.faults import WITH_DIARY, Fault
from lab_utils.soak.interrupts import Interrupts
from lab_utils.soak.judge import Ending, Result, complaint

LIMIT_S = 60.0  # a longer call hangs: the group's time-out is half of this
_STRUCK_S = 20.0  # every program reaches every place long before
_STOPPED = "stopped by a signal"
_ORPHAN_S, _ASK_EVERY_S = 8.0, 0.05  # a DataLoader's worker checks every 5 s whether its rank lives


class CountedRanks(Ranks):
    """Ranks that count their restarts."""

    def __init__(self, size: int):
        self.restarts = 0
        super().__init__(check_request(size), GROUP_TIMEOUT_S, CAN_FORK)

    def restart(self) -> Ranks:
        self.restarts += 1
        return super().restart()


class Soak:
    """The ranks for all faults, and every process ever seen among this process's descendants."""

    def __init__(self, ranks: CountedRanks, interrupts: Interrupts):
        self.ranks, self._interrupts = ranks, interrupts
        self._tokens = [secrets.token_hex() for _ in range(ranks.size)]
        self._right: dict[str, list] = {}
        ranks.run(on_rank.hold, self._tokens)
        self._seen = set(psutil.Process().children(recursive=True))
        self._own, self._own_files = len(self._seen), self._files()
        self._reader = Reader()

    # ------------------------------------------------------------------ one fault
    def endure(self, fault: Fault) -> Result:
        """Make one fault and return its result. KeyboardInterrupt when the user, not the fault, interrupted."""
        right = self._right_answers(fault.program) if fault.kind == "stop" else None
        result = Result(fault)
        with Beacon() as beacon, self._limited(), self._kept(result) as folder:
            ending, struck_s = self._meet(fault, beacon, folder)
        if self._interrupts.by_user:
            raise KeyboardInterrupt
        if struck_s is None:
            result.misnamed = f"it never struck: {complaint(fault, ending, self.ranks.size, right)}"
        else:
            result.misnamed = complaint(fault, ending, self.ranks.size, right)
            result.named_s = (ending.shown_s if fault.kind == "stop" else ending.ended_s) - struck_s
        self._recover(result, struck_s)
        result.left = self._left(_ORPHAN_S if fault.kind == "kill" else 0.0)
        result.unkept += [f"{name} was left" for name in self._files() - self._own_files]
        return result

    def _limited(self):
        return self._interrupts.limit(LIMIT_S, self.ranks.status)

    def _right_answers(self, program: str) -> list:
        if program not in self._right:
            with self._kept(Result(Fault(0, "none", program, 0, 0, ""))) as folder:
                self._right[program] = self.ranks.run(on_rank.play, program, folder=folder)
        return self._right[program]

    @contextmanager
    def _kept(self, result: Result) -> Iterator[str]:
        """Yield a folder for a program with a diary, "" for others; then compare the diary with the output shown."""
        if result.fault.program not in WITH_DIARY:
            yield ""
            return
        with tempfile.TemporaryDirectory() as folder, shown() as streams:
            yield folder
            said = {name: stream.getvalue() for name, stream in streams.items()}
            result.unkept = self._reader.complaints(folder, self.ranks.size, result.fault, said)

    def _meet(self, fault: Fault, beacon: Beacon, folder: str) -> tuple[Ending, float | None]:
        """Return how the call ended, and when the fault struck, None when it never did."""
        victim = psutil.Process(self.ranks.status()[fault.rank].pid)
        beside = {"stop": self._see_stopped, "interrupt": self._interrupt}.get(fault.kind)
        if beside is None:
            with _limit_lifted(victim):
                ending = self._call(fault, beacon, folder)
            return ending, beacon.wait(0)
        seen = in_a_thread(partial(beside, fault, beacon, victim))
        ending = self._call(fault, beacon, folder)
        struck_s, shown_s = seen.result()
        return Ending(ending.ended_s, ending.error, ending.answers, shown_s), struck_s

    def _call(self, fault: Fault, beacon: Beacon, folder: str) -> Ending:
        try:
            with self._interrupts.awaited():
                answers = self.ranks.run(on_rank.play, fault.program, fault, beacon.port, folder)
        except BaseException as error:
            return Ending(time.perf_counter(), error)
        return Ending(time.perf_counter(), answers=answers)

    # ------------------------------------------------------------------ beside the call
    def _interrupt(self, fault: Fault, beacon: Beacon, _: psutil.Process) -> tuple[float | None, None]:
        if beacon.wait(_STRUCK_S) is None:
            return None, None
        time.sleep(fault.late_s)
        struck_s = time.perf_counter()
        self._interrupts.send()
        return struck_s, None

    def _see_stopped(self, fault: Fault, beacon: Beacon, victim: psutil.Process) -> tuple[float | None, float | None]:
        """Poll the status until it shows the rank as stopped; resume the rank after the pause."""
        struck_s = beacon.wait(_STRUCK_S)
        if struck_s is None:
            return None, None
        try:
            while not (seen := self.ranks.status()[fault.rank].doing == _STOPPED) and _left_s(fault, struck_s) > 0:
                pass  # status() takes long enough
            shown_s = time.perf_counter() if seen else None
            time.sleep(max(0.0, _left_s(fault, struck_s)))
        finally:
            victim.resume()
        return struck_s, shown_s

    # ------------------------------------------------------------------ afterwards
    def _recover(self, result: Result, struck_s: float | None) -> None:
        """Check that an all-reduce is correct and variables are kept; restart the ranks if the call fails."""
        size = self.ranks.size
        try:
            with self._limited():
                answers = self.ranks.run(on_rank.agree)
                result.usable_s = time.perf_counter() - (struck_s or time.perf_counter())
                self._compare(result, answers, size * (size - 1) / 2)
                self.ranks.run(on_rank.hold, self._tokens)
        except Exception as error:
            result.unusable = f"{type(error).__name__}: {error}"
            self.ranks.restart()
            self.ranks.run(on_rank.hold, self._tokens)

    def _compare(self, result: Result, answers: list[tuple[float, str | None]], total: float) -> None:
        replaced = {result.fault.rank} if result.fault.kind == "kill" else set()
        wrong = {rank: said for rank, (said, _) in enumerate(answers) if said != total}
        if wrong:
            result.unusable = f"the ranks' numbers add up to {total:g}, and all-reduce gave {wrong}"
        kept = [token == wanted for (_, token), wanted in zip(answers, self._tokens, strict=True)]
        result.lost = [rank for rank, was_kept in enumerate(kept) if not was_kept and rank not in replaced]

    def _left(self, orphans_s: float) -> int:
        """Return how many more processes there are than at first, after a dead rank's children had time to end."""
        until_s = time.monotonic() + orphans_s
        while (left := self.living() - self._own) > 0 and time.monotonic() < until_s:
            time.sleep(_ASK_EVERY_S)  # polled: they are no children of ours
        return left

    def _files(self) -> set[str]:
        return set(os.listdir(tempfile.gettempdir()))

    def living(self) -> int:
        """Return how many processes ever seen among this one's descendants still live."""
        self._seen |= set(psutil.Process().children(recursive=True))
        self._seen = set(still_running(list(self._seen), 0))
        return len(self._seen)


def in_a_thread(work: Callable[[], Any]) -> Future:
    """Run the work on a daemon thread, which Python does not join at exit."""
    done = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done


@contextmanager
def shown() -> Iterator[dict[str, io.StringIO]]:
    """Capture what is printed inside: {"stdout": ..., "stderr": ...}."""
    with redirect_stdout(io.StringIO()) as stdout, redirect_stderr(io.StringIO()) as stderr:
        yield {"stdout": stdout, "stderr": stderr}


@contextmanager
def _limit_lifted(rank: psutil.Process) -> Iterator[None]:
    """Restore the rank's memory limit afterwards."""
    before = rank.rlimit(psutil.RLIMIT_DATA)
    yield
    with suppress(psutil.NoSuchProcess):  # killed; its replacement has no limit
        rank.rlimit(psutil.RLIMIT_DATA, before)


def _left_s(fault: Fault, struck_s: float) -> float:
    return struck_s + fault.pause_s - time.perf_counter()
