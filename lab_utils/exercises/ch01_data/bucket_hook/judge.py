"""Judge the reader's bucket hooks: sent during the backward, waited for after it, and serial's gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isclose
from typing import Any

from lab_utils.exercises.ch01_data.bucket_hook.words import Hook as say
from lab_utils.exercises.framework.against_serial import CLOSE, cause, common_factor, factor_of, worst
from lab_utils.exercises.framework.judge_code import LAB_LINE
from lab_utils.exercises.framework.on_ranks import OnRanks
from lab_utils.exercises.framework.readers_function import Function
from lab_utils.ranks import RankError, Ranks, RanksStuck
from lab_utils.render import source
from lab_utils.timeline import Op, Trace

ROOM = "lab_utils.exercises.ch01_data.bucket_hook"
on_ranks = OnRanks(f"{ROOM}.on_ranks")
LEAST_BYTES = 8_000
STEPS = 2  # two, to detect what is left over from the first


def judge_hook(ranks: Ranks, function: Function) -> list[str]:
    """Judge `my_buckets(model, least_bytes)` by the trace of its messages, then by the gradients."""
    try:
        trace = ranks.record(on_ranks.hooked, function, LEAST_BYTES, STEPS)
    except RanksStuck as error:
        return [say.order, LAB_LINE.sub("", str(error))]
    except RankError as error:
        if all(failure.type != "Mismatch" for failure in error.failures):
            raise
        return [say.order, LAB_LINE.sub("", str(error))]
    for rank, result in enumerate(trace.results):
        if result["strange"]:
            return [say.strange.format(type=result["strange"], rank=rank)]
    gradients_bytes = sum(gradient.nbytes for gradient in trace.results[0]["serial"][0].values())
    for rank in range(ranks.size):
        if wrong := _wrong_messages(Backward.of(trace, rank), gradients_bytes):
            return [wrong]
    return next((wrong for step in range(STEPS) if (wrong := _wrong_gradients(trace.results, step))), [])


def explained() -> dict[str, Any]:
    """Return the values of the explanation."""
    return {"solution": source(f"{ROOM}.on_ranks_solution", "my_buckets").text}


@dataclass(frozen=True, slots=True)
class Backward:
    """What one rank did in the last step.

    ops       all of the rank's ops
    messages  indices of its collectives in that step
    flops     indices of the backward's own compute with FLOPs
    """

    rank: int
    ops: Sequence[Op]
    messages: Sequence[int]
    flops: Sequence[int]

    @classmethod
    def of(cls, trace: Trace, rank: int) -> Backward:
        ops, last = trace.ops[rank], STEPS - 1
        begin = next(i for i, op in enumerate(ops) if op.phase == f"forward {last}")
        messages = [i for i, op in enumerate(ops) if i > begin and op.kind == "collective"]
        flops = [i for i, op in enumerate(ops) if op.phase == f"backward {last}" and op.flops]
        return cls(rank, ops, messages, flops)

    def left(self, at: int) -> float:
        """Return the part of the backward's FLOPs that the rank computes after op number `at`."""
        flops = {i: self.ops[i].flops for i in self.flops}
        return sum(count for i, count in flops.items() if i > at) / sum(flops.values())

    def waits(self) -> dict[int, int]:
        """Return, per message, the index of the first op that waits for it: its own if the call blocked."""
        first: dict[int, int] = {i: i for i in self.messages if not self.ops[i].asynchronous}
        for i, op in enumerate(self.ops):
            if op.kind == "wait":
                first.setdefault(op.of, i)
        return first


def _wrong_messages(step: Backward, gradients_bytes: int) -> str:
    """Say what is wrong with a rank's messages in the last step; "" if nothing is."""
    rank, count, waits = step.rank, len(step.messages), step.waits()
    if not count:
        return say.nothing.format(rank=rank)
    for number, at in enumerate(step.messages, 1):
        if at in waits and (left := step.left(waits[at])):
            return say.blocks.format(rank=rank, number=number, messages=count, left=left)
        if at not in waits:
            return say.unwaited.format(rank=rank, number=number, messages=count)
    early = sum(step.left(at) > 0 for at in step.messages)
    if 2 * early < count or count == 1:
        return say.late.format(early=early, rank=rank, messages=count)
    most = gradients_bytes // LEAST_BYTES + 1
    if count > most:
        sizes = {"bytes": gradients_bytes, "least": LEAST_BYTES, "most": most}
        return say.many.format(rank=rank, messages=count, **sizes)
    small = [step.ops[at].bytes for at in step.messages[:-1] if step.ops[at].bytes < LEAST_BYTES]
    if small:
        return say.small.format(rank=rank, bytes=small[0], least=LEAST_BYTES)
    sent = sum(step.ops[at].bytes for at in step.messages)
    return say.much.format(rank=rank, sent=sent, bytes=gradients_bytes) if sent > 1.1 * gradients_bytes else ""


def _wrong_gradients(results: Sequence[dict], step: int) -> list[str]:
    """Say what is wrong with the gradients after this step's finish(); nothing if they equal serial's."""
    found, own = [each["found"][step] for each in results], [each["own"][step] for each in results]
    serial, n = results[0]["serial"][step], len(results)
    for rank, each in enumerate(found):
        if missing := serial.keys() - each.keys():
            return [say.lost.format(rank=rank, name=min(missing))]
    difference, name, rank = max((*worst(each, serial), rank) for rank, each in enumerate(found))
    if difference <= CLOSE:
        return []
    where = say.worst.format(name=name, rank=rank, difference=difference)
    if step:
        return [say.second, where]
    factor = common_factor(found, serial)
    if factor is not None and not isclose(factor, 1, rel_tol=CLOSE):
        return [say.sums.format(factor=factor, why=cause(factor, {n: say.sum_over_ranks, 1 / n: say.ranks_twice}))]
    kept = [name for name in serial if all(_same(f, o, name) for f, o in zip(found, own, strict=True))]
    if kept:
        return [say.own if len(kept) == len(serial) else say.partial.format(names=", ".join(kept)), where]
    return [where]


def _same(found: dict, own: dict, name: str) -> bool:
    """Whether this gradient is the shard's own, or a multiple of it."""
    return factor_of({name: found[name]}, {name: own[name]}) is not None
