"""Judge the reader's parameter server: serial's parameters on every rank, and which messages brought them there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lab_utils.exercises.ch01_data.judge_gradients import sizes_of
from lab_utils.exercises.ch01_data.parameter_server.words import MyServer as say
from lab_utils.exercises.framework.against_serial import CLOSE, flat
from lab_utils.exercises.framework.on_ranks import BATCH, LEARNING_RATE, OnRanks
from lab_utils.exercises.framework.readers_function import Function
from lab_utils.ranks import Ranks
from lab_utils.render.source_code import source
from lab_utils.text import numbered
from lab_utils.timeline import Trace

HERE = "lab_utils.exercises.ch01_data.parameter_server"
on_ranks = OnRanks(f"{HERE}.on_ranks")
STEPS = 3
SPARE = 1.01  # of the bytes: a number of samples, or a loss, may be sent along


def judge_server(ranks: Ranks, function: Function) -> list[str]:
    """Judge STEPS steps of the reader's `my_server(model, optimizer, x, y)` on shards of different sizes."""
    sizes = sizes_of(ranks.size - 1)
    trace = ranks.record(on_ranks.served, function, STEPS, sizes, count=False)
    for number in range(STEPS):
        if wrong := _wrong_step(trace.results, number, np.array(sizes) / sum(sizes)):
            return [wrong, say.sizes.format(sizes=", ".join(map(str, sizes)), batch=BATCH)]
    return list(_wrong_messages(trace, flat(trace.results[0]["before"]).nbytes))[:1]


def explained() -> dict[str, Any]:
    """Return the values of the explanation."""
    return {"steps": STEPS, "solution": source(f"{HERE}.on_ranks_solution", "my_server").text}


def _wrong_step(results: Sequence[dict], number: int, parts: np.ndarray) -> str:
    """Describe what is wrong with the parameters after a step, the server's first; "" if nothing."""
    server, *workers = (each["after"][number] for each in results)
    before = flat(results[0]["after"][number - 1] if number else results[0]["before"])
    if not _close(flat(server), flat(results[0]["serial"][number])):
        return _wrong_update(results, before, number, parts)
    for rank, worker in enumerate(workers, start=1):
        if _close(flat(worker), before):
            return say.stale.format(rank=rank, step=number)
        if not number and _close(flat(worker), flat(server) - LEARNING_RATE * flat(results[rank]["alone"])):
            return say.own_update.format(rank=rank, step=number)
        if not _close(flat(worker), flat(server)):
            largest, name = max((float(np.abs(worker[name] - each).max()), name) for name, each in server.items())
            return say.unlike.format(rank=rank, step=number, name=name, largest=largest)
    return ""


def _wrong_update(results: Sequence[dict], before: np.ndarray, number: int, parts: np.ndarray) -> str:
    """Describe the server's wrong update, by how much of each worker's gradient it is."""
    update = (before - flat(results[0]["after"][number])) / LEARNING_RATE
    if not update.any():
        return say.unchanged.format(step=number)
    if number:
        return say.left_over.format(step=number)
    gradients = np.stack([flat(each["alone"]) for each in results[1:]], axis=1)
    weights = np.linalg.lstsq(gradients, update)[0]
    if not _close(gradients @ weights, update):
        return say.elsewhere.format(step=number)
    terms, wanted = map(_sum, (weights, parts))
    return say.weights.format(terms=terms, wanted=wanted, why=_cause(weights, parts))


def _cause(weights: np.ndarray, parts: np.ndarray) -> str:
    """Return the sentence of the mistake that gives each worker's gradient this weight; "" for an unknown one."""
    workers, n = len(parts), len(parts) + 1
    if lost := [worker for worker, weight in enumerate(weights, start=1) if abs(weight) < CLOSE]:
        return say.left_out.format(workers=numbered("worker", lost))
    known = (
        (np.full(workers, 1 / workers), say.mean_of_means),
        (np.full(workers, 1 / n), say.over_ranks),
        (parts * workers / n, say.over_ranks),
        (np.ones(workers), say.no_division),
        (parts * BATCH, say.no_division),
    )
    return next((why.format(n=n) for values, why in known if _close(weights, values)), "")


def _sum(weights: Sequence[float]) -> str:
    rounded = [round(float(weight), 6) + 0.0 for weight in weights]  # + 0.0: no "-0"
    return " + ".join(say.term.format(weight=weight, worker=worker) for worker, weight in enumerate(rounded, start=1))


def _wrong_messages(trace: Trace, size_bytes: int) -> Iterator[str]:
    """Yield one sentence per link that carried something else than the gradients and the parameters."""
    if used := sorted({op.name for op in trace if op.kind == "collective"}):
        yield say.collectives.format(names=", ".join(used))
    sent = [op for op in trace if op.kind == "send"]
    for op in sent:
        if op.rank and op.peer:
            yield say.sideways.format(rank=op.rank, peer=op.peer)
    for worker in range(1, trace.world_size):
        for template, link in ((say.pushed, (worker, 0)), (say.pulled, (0, worker))):
            found = sum(op.bytes for op in sent if (op.rank, op.peer) == link) / STEPS
            if not size_bytes <= found <= SPARE * size_bytes:
                yield template.format(worker=worker, found=round(found), wanted=size_bytes)


def _close(found: np.ndarray, wanted: np.ndarray) -> bool:
    return bool(np.abs(found - wanted).max() <= CLOSE * max(1.0, np.abs(wanted).max()))
