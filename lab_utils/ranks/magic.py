"""The `%%ranks` cell magic: the cell runs on every rank, and what they say is shown in rank order."""

from __future__ import annotations

import ipyparallel as ipp
from IPython import get_ipython
from IPython.core.error import UsageError
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring

from lab_utils.ranks import on_rank
from lab_utils.ranks.naming import magic_cell
from lab_utils.ranks.outcomes import trace_of
from lab_utils.ranks.session import Ranks, current_ranks


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
    with_first_line = magic_cell("\n" + cell, number)  # the magic's own line counts, as the notebook shows it
    recorded = given.record is not None
    outcomes = ranks.call(on_rank.run_cell, with_first_line, recorded, not given.no_count, only=members)
    if given.record:
        ip.user_ns[given.record] = trace_of(outcomes)


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


def load(client: ipp.Client) -> None:
    """Register `%%ranks`, and `%%px` for the ranks' engines, waiting for them as `%%ranks` does."""
    get_ipython().register_magic_function(ranks_magic, "cell", "ranks")
    view = client[:]
    view.block = True
    view.activate()
