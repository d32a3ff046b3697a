"""Tooltips of the marks of a gradient flow."""

from __future__ import annotations

from lab_utils.text import bytes_text, percent_text, time_text
from lab_utils.widgets.gradient_flow.flow import FlowPicture, Layer, OnWire, number_text
from lab_utils.widgets.gradient_flow.record import Gradient

STAGE = {"input": "was given", "output": "gave"}


def layer_tip(flow: FlowPicture, at: int) -> str:
    """Return the layer, its bucket, and a line per rank."""
    layer = flow.layers[at]
    return "\n".join([layer_head(flow, layer), *(rank_line(flow, at, rank) for rank in range(flow.world_size))])


def layer_head(flow: FlowPicture, layer: Layer) -> str:
    """Return name, shape or number of parameters, bytes, bucket."""
    first = next(held for held in layer.held if held)
    shape = " × ".join(map(str, first[0].shape)) or "1" if len(first) == 1 else f"{len(first)} parameters"
    joined = "in no bucket" if layer.bucket is None else f"bucket {layer.bucket}"
    if len(first) == 1 and first[0].kind != "parameter":
        joined = f"of what the stage {STAGE[first[0].kind]}, {len(first[0].ready_s)} times"
    size = max(sum(gradient.bytes for gradient in held) for held in layer.held)
    return f"{layer.name} · {shape} · {bytes_text(size)} · {joined}"


def rank_line(flow: FlowPicture, at: int, rank: int) -> str:
    """Return one rank's gradient: times ready, sent, back, norm, disagreement, kept piece."""
    layer, ready_s = flow.layers[at], flow.ready_s[rank][at]
    if not layer.held[rank]:
        return f"rank {rank}: is not on this rank"
    if ready_s is None:
        return f"rank {rank}: no gradient came"
    parts = [f"ready at {time_text(ready_s)}"]
    wires = [] if layer.bucket is None else flow.lines[layer.bucket].of(rank)
    if wires:
        parts.append(f"sent {time_text(wires[0].issue_s)}, back {time_text(wires[-1].done_s)}")
    if (norm := layer.norm(rank)) is not None:
        after = layer.norm(rank, "after")
        parts.append(f"norm {number_text(norm)}" + ("" if after is None else f", after {number_text(after)}"))
    for when in ("before", "after"):
        if (value := layer.disagreement(rank, when)) is not None:
            parts.append(f"disagreement {when} {number_text(value)}")
    kept = [piece_text(gradient) for gradient in layer.held[rank] if gradient.kept or gradient.owner is not None]
    return f"rank {rank}: " + " · ".join([*parts, *dict.fromkeys(kept if len(kept) == 1 else kept[:1])])


def piece_text(gradient: Gradient) -> str:
    """Return the piece that the rank keeps, "keeps [0:8, 0:16], 50.0 %", or whose optimizer updates it."""
    if gradient.kept is None:
        return f"rank {gradient.owner} updates it"
    ends = zip(gradient.kept.offset, gradient.kept.shape, strict=True)
    box = ", ".join(f"{start}:{start + size}" for start, size in ends)
    return f"keeps [{box}], {percent_text(gradient.share)}"


def wire_tip(wire: OnWire) -> str:
    """Return the communication op, worded as in the timeline."""
    op = wire.op
    whom = f"group {op.group}, number {op.seq}" if op.peer is None else f"{op.kind} with rank {op.peer}"
    waited = f", {time_text(wire.met_s - wire.issue_s)} until all were there" if wire.met_s > wire.issue_s else ""
    source = f" · {op.source}" if op.source else ""
    return (
        f"{op.name} · {whom} · {bytes_text(op.bytes)}{source}\nrank {wire.rank}: sent {time_text(wire.issue_s)}, "
        f"back {time_text(wire.done_s)}{waited}"
    )
