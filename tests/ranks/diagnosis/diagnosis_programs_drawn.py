"""Programs for `diagnosis_programs.Machine`, drawn by Hypothesis: those that end, and whatever ranks like to do.

Strategies are made once, and what has few values takes one draw: else nearly all of the time is Hypothesis's own.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations, permutations, product

from diagnosis_programs import COMPUTE, FOR_EVER, RAISE, Step, collective, recv, send
from hypothesis import strategies as st

from lab_utils.comm.status.rank_state import ANY_SOURCE

_LINES = st.sampled_from(["train.py:1", "train.py:2", "train.py:3"])
_KINDS = st.sampled_from(["world", "group", "message", "message", "compute"])
_WAITS, _NAMES, _ELEMENTS = (True, True, False), ("all_reduce", "all_reduce", "barrier"), (4, 4, 4, 8)


@st.composite
def sound_programs(draw: st.DrawFn, any_source: bool = True) -> dict[int, list[Step]]:
    """Ends on every rank: all come to their ops in one common order. 2 to 5 ranks, groups of any of them."""
    size = draw(st.integers(2, 5))
    program: dict[int, list[Step]] = {rank: [] for rank in range(size)}
    for _ in range(draw(st.integers(1, 8))):
        source, kind = draw(_LINES), draw(_KINDS)
        if kind == "compute":
            program[draw(st.integers(0, size - 1))].append(COMPUTE)
        elif kind == "message":
            _add_message(draw, program, source, any_source)
        else:
            group = range(size) if kind == "world" else draw(groups(size))
            step = collective(group, draw(st.sampled_from(["all_reduce", "barrier"])), source=source)
            for rank in group:
                program[rank].append(step)
    return program


def _all_groups(size: int) -> list[tuple[int, ...]]:
    return [group for members in range(2, size + 1) for group in combinations(range(size), members)]


@cache
def groups(size: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.sampled_from(_all_groups(size))


@cache
def pairs(size: int) -> st.SearchStrategy[tuple[int, int]]:
    """Two ranks, in any order."""
    return st.sampled_from(list(permutations(range(size), 2)))


def _add_message(draw: st.DrawFn, program: dict[int, list[Step]], source: str, any_source: bool) -> None:
    sender, receiver = draw(pairs(len(program)))
    blocks = st.sampled_from(_WAITS)
    peer = draw(st.sampled_from([sender, sender, ANY_SOURCE])) if any_source else sender
    program[sender].append(send(receiver, source=source, waits=draw(blocks)))
    program[receiver].append(recv(peer, source=source, waits=draw(blocks)))


@st.composite
def any_programs(draw: st.DrawFn, any_source: bool = True) -> dict[int, list[Step]]:
    """Whatever each rank likes to do; most of them get stuck."""
    size = draw(st.integers(2, 5))
    return {rank: draw(_steps(size, rank, any_source)) for rank in range(size)}


@cache
def _steps(size: int, rank: int, any_source: bool) -> st.SearchStrategy[list[Step]]:
    """What this rank can do; every other element count or name makes a mismatch likely."""
    own = [group for group in _all_groups(size) if rank in group]
    others = [other for other in range(size) if other != rank]
    sources = [*others, *([ANY_SOURCE] * len(others) if any_source else [])]
    kinds = (
        [collective(group, name, elements=n) for group, name, n in product(own, _NAMES, _ELEMENTS)],
        [collective(range(size), name, elements=n, waits=w) for name, n, w in product(_NAMES, _ELEMENTS, _WAITS)],
        [send(peer, elements=n, waits=w) for peer, n, w in product(others, _ELEMENTS, _WAITS)],
        [recv(peer, elements=n, waits=w) for peer, n, w in product(sources, _ELEMENTS, _WAITS)],
        [COMPUTE, COMPUTE, RAISE, FOR_EVER],
    )
    return st.lists(st.one_of(*map(st.sampled_from, kinds)), max_size=5)
