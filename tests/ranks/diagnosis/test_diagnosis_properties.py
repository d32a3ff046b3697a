"""What holds for any program and any order of moves: only what never ends is called certain, and all of it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from diagnosis_programs import COMPUTE, Machine, Program, collective, recv, send
from diagnosis_programs_drawn import any_programs, groups, pairs, sound_programs
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_utils.comm.status.rank_state import RankState
from lab_utils.ranks.diagnosis.diagnosis import Diagnosis, diagnose
from lab_utils.ranks.diagnosis.wait_graph import hopeless

orders = st.randoms(use_true_random=False).map(lambda random: random.choice)
sound = sound_programs(any_source=False)
few = settings(max_examples=50, deadline=None)
Choose = Callable[[list[int]], int]
Seen = tuple[dict[int, RankState], dict[int, str]]


def moments(machine: Machine, choose: Choose) -> Iterator[Machine]:
    """The machine as it is after each move, to its end."""
    yield machine
    while movable := machine.movable():
        machine.move(choose(movable))
        yield machine


def views(machine: Machine) -> Iterator[Seen]:
    """What may be seen of it: all, or all but one rank, whose guard is late with its answer."""
    rank_states, fates = machine.rank_states(), machine.fates()
    yield rank_states, fates
    for rank in rank_states:
        others = {other: rank_state for other, rank_state in rank_states.items() if other != rank}
        yield others, {rank: "silent", **fates}


@few
@given(sound, orders)
def test_programs_that_end_are_never_called_stuck(program: Program, choose: Choose) -> None:
    for machine in moments(Machine(program), choose):
        found = [diagnose(*seen) for seen in views(machine)]
        assert not any(diagnosis.certain for diagnosis in found if diagnosis is not None)
    assert set(machine.fates()) == set(program) and found[0] is None


@settings(max_examples=150, deadline=None)
@given(any_programs() | sound_programs(), orders)
def test_whoever_is_hopeless_never_goes_on(program: Program, choose: Choose) -> None:
    called: dict[int, int] = {}
    for machine in moments(Machine(program), choose):
        for seen in views(machine):
            called |= {rank: machine.ranks[rank].done for rank in hopeless(*seen)}
    blocked = machine.blocked()
    assert {rank: blocked.get(rank) for rank in called} == called


@settings(max_examples=150, deadline=None)
@given(any_programs(any_source=False), orders, st.sets(st.integers(0, 4), max_size=1))
def test_all_that_never_go_on_are_found(program: Program, choose: Choose, absent: set[int]) -> None:
    """Unless they wait, at the end of a row, for a rank that computes for ever."""
    machine = Machine(program, absent).run(choose)
    found = diagnose(machine.rank_states(), machine.fates())
    assert (found is not None) == bool(machine.blocked())
    if found is not None and not machine.computing():
        assert found.certain
    if found is not None and not found.certain:
        assert found.kind == "computing" and set(found.ranks) <= machine.computing()


@few
@given(any_programs(any_source=False), orders, orders)
def test_the_sentence_does_not_depend_on_who_was_first(program: Program, one: Choose, other: Choose) -> None:
    first, second = (Machine(program).run(choose) for choose in (one, other))
    if not (first.differed or second.differed):  # of two that differ the later one raises
        assert diagnose(first.rank_states(), first.fates()) == diagnose(second.rank_states(), second.fates())


# ---------------------------------------------------------------------- faults in programs that would end
def seen(program: Program) -> Diagnosis | None:
    machine = Machine(program).run()
    return diagnose(machine.rank_states(), machine.fates())


def with_tail(program: Program, *tail) -> dict[int, list]:
    """The program with these steps at its end, on every rank."""
    return {rank: [*steps, *tail] for rank, steps in program.items()}


def one_of(program: Program, data: st.DataObject) -> int:
    return data.draw(st.sampled_from(sorted(program)))


def odd_in(program: Program, odd: int) -> tuple[int, ...]:
    """Of two ranks that differ neither is more right than the other."""
    return (odd,) if len(program) > 2 else (0, 1)


@few
@given(sound, st.data())
def test_a_shape_of_its_own(program: Program, data: st.DataObject) -> None:
    odd = one_of(program, data)
    program = with_tail(program, collective(program))
    program[odd][-1] = replace(program[odd][-1], elements=9)
    found = seen(program)
    assert (found.kind, found.ranks, found.certain) == ("mismatch", odd_in(program, odd), True)


@few
@given(sound, st.data())
def test_two_collectives_swapped(program: Program, data: st.DataObject) -> None:
    odd = one_of(program, data)
    program = with_tail(program, collective(program), collective(program, "barrier"))
    program[odd][-2:] = reversed(program[odd][-2:])
    found = seen(program)
    assert (found.kind, found.ranks, found.certain) == ("mismatch", odd_in(program, odd), True)


@few
@given(sound, st.data())
def test_the_last_collective_left_out(program: Program, data: st.DataObject) -> None:
    odd = one_of(program, data)
    program = with_tail(program, collective(program))
    program[odd].pop()
    found = seen(program)
    assert (found.kind, found.ranks, found.certain) == ("left out", (odd,), True)


@settings(max_examples=200, deadline=None)
@given(sound, st.data())
def test_any_one_step_left_out(program: Program, data: st.DataObject) -> None:
    """Whatever it leads to, the rank that left it out is among those named, or its partner in a message."""
    odd = one_of(program, data)
    program = with_tail(program, COMPUTE)
    left_out = program[odd].pop(data.draw(st.integers(0, len(program[odd]) - 1)))
    found = seen(program)
    if left_out.kind == "compute":
        assert found is None
    elif left_out.kind == "collective":
        assert found.certain and odd in found.ranks
    elif found is not None:
        assert found.certain and {odd, left_out.peer} & set(found.ranks)


@few
@given(sound, st.booleans(), st.data())
def test_a_receive_left_out(program: Program, goes_on: bool, data: st.DataObject) -> None:
    """Its rank returns, or waits for the sender in something else: then neither is known to be wrong."""
    sender, receiver = data.draw(pairs(len(program)))
    program = {rank: list(steps) for rank, steps in program.items()}
    program[sender].append(send(receiver, source="train.py:7"))
    found = seen(with_tail(program, collective(program)) if goes_on else program)
    assert found.certain and found.kind == ("cycle" if goes_on else "unmatched")
    assert found.ranks == (tuple(sorted((sender, receiver))) if goes_on else (receiver,))


@few
@given(sound, st.data())
def test_a_circle(program: Program, data: st.DataObject) -> None:
    circle = data.draw(groups(len(program)))
    program = {rank: list(steps) for rank, steps in program.items()}
    for before, rank, after in zip(circle[-1:] + circle, circle, circle[1:] + circle[:1], strict=False):
        program[rank] += [recv(before), send(after)]
    found = seen(program)
    assert (found.kind, found.ranks, found.certain) == ("cycle", circle, True)
