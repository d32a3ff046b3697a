"""Judge the reader's pipeline code: compare each stage's gradients with serial's, and recognise mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isclose, isfinite

import numpy as np

from lab_utils.exercises.ch03_pipeline import words
from lab_utils.exercises.framework.against_serial import CLOSE, cause, difference, factor_of, mean_of, worst
from lab_utils.exercises.framework.on_ranks import LEARNING_RATE, MICROBATCHES, SAMPLES, OnRanks
from lab_utils.exercises.framework.readers_function import Function
from lab_utils.ranks import Ranks
from lab_utils.schedule import schedules
from lab_utils.strategies.pipeline import ops_of

on_ranks = OnRanks("lab_utils.exercises.ch03_pipeline.on_ranks")
Results = Sequence[dict]
FEW = 2  # micro-batches, fewer than ranks


def judge_step(ranks: Ranks, function: Function) -> list[str]:
    """Judge the reader's `my_step(stage, parts, like)`: every stage's gradients must equal serial's."""
    say, results = words.Step, ranks.run(on_ranks.stepped, function)
    for rank, each in enumerate(results):
        if names := [name for name in each["serial"] if name not in each["found"]]:
            return [say.lost.format(rank=rank, name=names[0], more=len(names) - 1, all=len(each["serial"]))]
    off = _off(results)
    if not off:
        return []
    factors = [factor_of(each["found"], each["serial"]) for each in results]
    if all(factors):
        return _by_factors(factors, results)
    for number in range(MICROBATCHES):
        if all(factor_of(each["found"], each["alone"][number]) for each in results):
            return [say.of_one.format(number=number)]
        others = [[*each["alone"][:number], *each["alone"][number + 1 :]] for each in results]
        if all(factor_of(each["found"], mean_of(alone)) for each, alone in zip(results, others, strict=True)):
            return [say.without_one.format(number=number)]
    return _told(off, len(results))


def _by_factors(factors: Sequence[float], results: Results) -> list[str]:
    say, first = words.Step, factors[-1]
    if all(isclose(factor, first, rel_tol=CLOSE) for factor in factors):
        known = {
            MICROBATCHES: say.sum_over_parts.format(parts=MICROBATCHES),
            1 / MICROBATCHES: say.parts_twice,
            MICROBATCHES / SAMPLES: say.by_samples,
            MICROBATCHES / len(results): say.by_ranks,
            1 / MICROBATCHES**2: say.parts_thrice,
        }
        name, *others = (name for each in results for name in each["serial"])
        factor = say.serial_times.format(factor=first, why=cause(first, known))
        return [factor, say.all_of_them.format(name=name, others=len(others))]
    told = ", ".join(say.on_rank.format(factor=factor, rank=rank) for rank, factor in enumerate(factors))
    steps = [earlier / later for earlier, later in zip(factors, factors[1:], strict=False)]
    growing = all(isclose(step, steps[0], rel_tol=CLOSE) for step in steps)
    why = say.growing.format(factor=steps[0]) if growing else say.one_stage
    return [say.factors.format(factors=told), why]


def _off(results: Results) -> list[tuple[int, str, float]]:
    """Return (rank, its worst tensor, relative difference) of the ranks whose gradients differ from serial's."""
    differences = ((rank, *worst(each["found"], each["serial"])) for rank, each in enumerate(results))
    return [(rank, name, largest) for rank, largest, name in differences if largest > CLOSE]


def _told(off: Sequence[tuple[int, str, float]], ranks: int) -> list[str]:
    """Return sentences on the worst tensor and on which ranks are right: gradients flow from the last rank."""
    say, (rank, name, largest) = words.Gradients, off[-1]
    how = say.differs.format(difference=largest) if isfinite(largest) else say.no_numbers
    right = [r for r in range(ranks) if r not in {each[0] for each in off}]
    where = say.none_right
    if right:
        where = say.right.format(who=say.behind if right[0] > rank else say.others, ranks=_ranks(right))
    return [say.off.format(rank=rank, name=name, how=how), where]


def _ranks(numbers: Sequence[int]) -> str:
    say = words.Gradients
    return (say.one_rank if len(numbers) == 1 else say.some_ranks).format(ranks=", ".join(map(str, numbers)))


def judge_slots(ranks: Ranks, function: Function) -> list[str]:
    """Judge the reader's `my_run(order, forward, backward)`: each backward with its own forward's activations."""
    say, results = words.Slots, ranks.run(on_ranks.slotted, function)
    for rank, each in enumerate(results):
        if other := _other_order(rank, each["ran"], each["order"]):
            return [other]
        for number, used in each["used"]:
            if isinstance(used, str):
                return [say.strange.format(rank=rank, number=number, type=used)]
    off = _off(results)
    told = _told(off, len(results)) if off else []
    mixed = [[pair for pair in each["used"] if pair[0] != pair[1]] for each in results]
    for rank, pairs in enumerate(mixed):
        if pairs:
            number, other = pairs[0]
            counts = ", ".join(say.count.format(rank=r, mixed=len(p), m=MICROBATCHES) for r, p in enumerate(mixed))
            said = say.mixed.format(rank=rank, number=number, other=other)
            return [said, say.counted.format(counts=counts), *told]
    for rank, each in enumerate(results):
        if each["held"] > min(len(results) - rank, MICROBATCHES):
            return [say.too_many.format(rank=rank, held=each["held"])]
    return told


def _other_order(rank: int, ran: Sequence[tuple], order: Sequence[tuple]) -> str:
    for number, (mine, wanted) in enumerate(zip(ran, order, strict=False), start=1):
        if mine != wanted:
            ops = {"op": f"{mine[0]}{mine[1]}", "wanted": f"{wanted[0]}{wanted[1]}"}
            return words.Slots.other_op.format(rank=rank, number=number, **ops)
    return words.Slots.ops.format(rank=rank, ops=len(ran), wanted=len(order)) if len(ran) != len(order) else ""


def judge_weights(ranks: Ranks, function: Function) -> list[str]:
    """Judge the reader's `my_backward(layer, inputs, arrive, leave)`: B's gradients, last rank first, then W's."""
    say, results = words.Weights, ranks.run(on_ranks.weighted, function)
    for rank, each in reversed(list(enumerate(results))):  # an error on a later rank propagates to all earlier ones
        if wrong := _left_wrongly(rank, each):
            return [wrong]
    off = {rank: how for rank, each in enumerate(results) if (how := _weight_wrongly(each))}
    if not off:
        return []
    rank, *more = off
    others = say.on_others.format(ranks=_ranks(more)) if more else say.on_no_other
    return [say.wrong.format(rank=rank, how=off[rank]), say.input_right.format(others=others)]


def _left_wrongly(rank: int, each: dict) -> str:
    say = words.Weights
    for number, wanted in enumerate(each["inputs_grad"]):
        if number not in each["left"]:
            return say.not_left.format(rank=rank, number=number)
        found = each["left"][number]
        if difference(found, wanted) > CLOSE:
            same = [n for n, other in enumerate(each["inputs_grad"]) if difference(found, other) <= CLOSE]
            factor = _factor(found, wanted)
            why = say.of_other.format(other=same[0]) if same else say.times.format(factor=factor) if factor else ""
            return say.left.format(rank=rank, number=number, why=why if found.any() else say.zero)
    return ""


def _weight_wrongly(each: dict) -> str:
    """Describe how the weight's gradient differs from serial's; "" if it is right."""
    say, xs, gs = words.Weights, np.stack(each["inputs"]), np.stack(each["outputs_grad"])
    alone = [g.T @ x for g, x in zip(gs, xs, strict=True)]
    serial, found = sum(alone), each["weight"]
    if found is None or not found.any():
        return say.no_w
    if difference(found, serial) <= CLOSE:
        return ""
    for number, part in enumerate(alone):
        if factor := _factor(found, part):
            return say.of_one.format(factor=factor, number=number)
        known = (
            (serial - part, say.without_one),
            (gs.sum(0).T @ xs[number], say.one_input),
            (gs[number].T @ xs.sum(0), say.one_gradient),
        )
        if why := next((why for wanted, why in known if difference(found, wanted) <= CLOSE), ""):
            return why.format(number=number)
    if difference(found, serial.T) <= CLOSE:
        return say.transposed
    factor = _factor(found, serial)
    return (say.factor if factor else say.differs).format(factor=factor, difference=difference(found, serial))


def _factor(found: np.ndarray, wanted: np.ndarray) -> float | None:
    return factor_of({"": found}, {"": wanted})


def judge_tied(ranks: Ranks, function: Function) -> list[str]:
    """Judge the reader's `my_tied(stage)`: both copies of the tied weight have the sum, nothing else changes."""
    say, results = words.Tied, ranks.run(on_ranks.tied, function)
    names = {0: "tokens.weight", len(results) - 1: "head.weight"}
    for rank, each in enumerate(results):
        for name, before in each["own"].items():
            if name != names.get(rank) and not np.array_equal(each["found"].get(name, np.nan), before):
                return [say.changed.format(name=name, rank=rank)]
    copies = {rank: results[rank]["found"].get(name) for rank, name in names.items()}
    said = {rank: _tied_wrongly(copy, results[0]["parts"], rank == 0) for rank, copy in copies.items()}
    wrong = [say.wrong.format(name=names[rank], rank=rank, how=how) for rank, how in said.items() if how]
    return [*wrong, *_drift([*copies.values()])] if wrong else []


def _tied_wrongly(found: np.ndarray | None, parts: Sequence[np.ndarray], first: bool) -> str:
    say = words.Tied
    if found is None:
        return say.gone
    (own, here), (other, there) = list(zip(parts, say.uses, strict=True))[:: 1 if first else -1]
    if difference(found, own + other) <= CLOSE:
        return ""
    for part, how in ((own, say.own), (other, say.other)):
        if difference(found, part) <= CLOSE:
            return how.format(here=here, there=there)
    factor = _factor(found, own + other)
    return say.factor.format(factor=factor) if factor else say.no_sum


def _drift(copies: Sequence[np.ndarray | None]) -> Iterator[str]:
    """Yield a sentence on how far one SGD update moves the two copies apart."""
    if any(each is None for each in copies):
        return
    apart = LEARNING_RATE * float(np.abs(copies[0] - copies[1]).max())
    if apart > CLOSE:
        yield words.Tied.drift.format(rate=LEARNING_RATE, apart=apart)


def judge_loop(ranks: Ranks, function: Function) -> list[str]:
    """Judge the reader's `my_1f1b(m, forward, backward, like)`: order and memory of 1F1B, gradients of serial."""
    for microbatches in (MICROBATCHES, FEW):
        trace = ranks.record(on_ranks.looped, function, microbatches, count=False)
        ran = [[f"{op.kind}{op.microbatch}" for op in ops_of(phases)] for phases in trace.phases]
        if found := _loop_wrongly(trace.results, ran, microbatches):
            return [words.Loop.sizes.format(m=microbatches, why=found[0]), *found[1:]]
    return []


def _loop_wrongly(results: Results, ran: Sequence[list[str]], m: int) -> list[str]:
    """ran   per rank, its ops in order, such as "F0" and "BW0"."""
    say, wanted = words.Loop, schedules.one_f_one_b(len(results), m)
    for rank, ops in enumerate(ran):
        if missing := [number for number in range(m) if f"BW{number}" not in ops]:
            return [say.missing.format(rank=rank, ops=", ".join(f"BW{number}" for number in missing))]
    for rank, (each, ops, most) in enumerate(zip(results, ran, wanted.peak_activations, strict=True)):
        if each["held"] > most:
            forwards = next(at for at, op in enumerate(ops) if op.startswith("BW"))
            told = say.too_many.format(rank=rank, held=each["held"], most=f"{most:g}")
            return [told, (say.gpipe if forwards == m else say.warm_up).format(forwards=forwards)]
    for rank, (ops, order) in enumerate(zip(ran, wanted.orders, strict=True)):
        for number, (op, other) in enumerate(zip(ops, order.split(), strict=True), start=1):
            if op != other:
                held = say.held.format(rank=rank, held=results[rank]["held"], most=f"{wanted.peak_activations[rank]:g}")
                return [say.other_op.format(rank=rank, op=op, number=number, wanted=other), held]
    off = _off(results)
    return _told(off, len(results)) if off else []
