"""The `%%ranks` cell magic: the cell runs on every rank, and its output is shown in rank order."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import TYPE_CHECKING

from IPython import get_ipython
from IPython.core.error import UsageError
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring

from lab_utils.host.notebook_errors import hints
from lab_utils.ranks.calls.cell_names import magic_cell
from lab_utils.ranks.calls.outcomes import trace_of
from lab_utils.ranks.on_rank import entry_points
from lab_utils.ranks.session import Ranks, current_ranks, with_new_engines
from lab_utils.ranks.shipping.surroundings import surroundings
from lab_utils.text import name_ranks

if TYPE_CHECKING:
    import ipyparallel as ipp
    from IPython.core.interactiveshell import InteractiveShell


@magic_arguments()
@argument("--on", default=None, help="ranks to run on, such as 0 or 0,2 (all, unless given)")
@argument("--record", metavar="NAME", default=None, help="record the cell; the Trace goes into this variable")
@argument("--no-count", action="store_true", help="do not count kernels while recording")
def ranks_magic(line: str, cell: str) -> None:
    """Run the cell on every rank. The magic's own line may end in a comment."""
    given = parse_argstring(ranks_magic, line.partition("#")[0])
    ranks = current_ranks()
    if ranks is None:
        raise UsageError("no ranks are running: ranks = start_ranks(4) starts four")
    members = _members(given.on, ranks)
    if given.record and members is not None:
        raise UsageError("--record needs every rank: leave --on away")
    if given.no_count and not given.record:
        raise UsageError("--no-count needs --record NAME: nothing is counted without it")
    ip = get_ipython()
    number = ip.displayhook.prompt_count  # ip.execution_count is already the next cell's, from IPython 9.18
    with_first_line = magic_cell("\n" + cell, number)  # the line of the magic counts in the notebook's line numbers
    recorded = given.record is not None
    warned = io.StringIO()
    try:
        with contextlib.redirect_stderr(warned):
            call = with_first_line, recorded, not given.no_count, surroundings()
    finally:
        print(warned.getvalue(), end="", file=sys.stderr)
    outcomes = ranks.call(entry_points.run_cell, *call, only=members, alone=_is_whole(ip) and not warned.getvalue())
    if given.record:
        ip.user_ns[given.record] = trace_of(outcomes)


def _is_whole(ip: InteractiveShell) -> bool:
    """Whether the notebook's cell is a `%%ranks` cell, which prints nothing else."""
    running = ip.kernel.get_parent("shell") if hasattr(ip, "kernel") else {}
    return running.get("content", {}).get("code", "").lstrip().startswith("%%ranks")


def _members(on: str | None, ranks: Ranks) -> list[int] | None:
    if on is None:
        return None
    try:
        members = sorted({int(part) for part in on.split(",")})
    except ValueError:
        raise UsageError(f"--on {on}: write ranks as 0 or 0,2") from None
    if not members or members[0] < 0 or members[-1] >= ranks.size:
        raise UsageError(f"--on {on}: the ranks are 0 to {ranks.size - 1}")
    return members


def held_elsewhere(error: BaseException) -> str:
    """Return the sentence on a name that only ranks have, or "" where the error is about another thing."""
    ranks, name = current_ranks(), getattr(error, "name", None)
    if ranks is None or not isinstance(error, NameError) or not name:
        return ""
    holders = ranks.holding(name)
    if not holders:
        return ""
    whom = name_ranks(holders)
    return (
        f"{name} is a variable on {whom}, which the notebook's own process does not see: "
        f"a %%ranks cell uses it, and ranks.run(lambda: {name}) returns it from every rank"
    )


hints.append(held_elsewhere)


def load(client: ipp.Client) -> None:
    """Register `%%ranks` in a notebook, and `%%px` for the ranks' engines, blocking as `%%ranks` does."""
    if (ip := get_ipython()) is None:
        return
    ip.register_magic_function(ranks_magic, "cell", "ranks")
    view = client[:]
    view.block = True
    view.activate()


with_new_engines(load)
