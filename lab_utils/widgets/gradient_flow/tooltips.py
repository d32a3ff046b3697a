"""Tooltips of the marks of a gradient flow."""

from __future__ import annotations

from lab_utils.widgets.gradient_flow import words
from lab_utils.widgets.gradient_flow.flow import FlowPicture, Layer, OnWire
from lab_utils.widgets.gradient_flow.record import Gradient


def layer_tip(flow: FlowPicture, at: int) -> str:
    """Return the layer, its bucket, and a line per rank."""
    return "\n".join([layer_head(flow.layers[at]), *(rank_line(flow, at, rank) for rank in range(flow.world_size))])


def layer_head(layer: Layer) -> str:
    """Return name, shape or number of parameters, bytes, bucket."""
    first = next(held for held in layer.held if held)
    shape = words.shape_text(first[0].shape) if len(first) == 1 else words.parameters(len(first))
    joined = words.IN_NO_BUCKET if layer.bucket is None else words.bucket_name(layer.bucket)
    if len(first) == 1 and first[0].kind != "parameter":
        joined = words.of_stage(first[0].kind, len(first[0].ready_s))
    size = max(sum(gradient.bytes for gradient in held) for held in layer.held)
    return words.layer_head(layer.name, shape, size, joined)


def rank_line(flow: FlowPicture, at: int, rank: int) -> str:
    """Return one rank's gradient: times ready, sent, back, norm, disagreement, kept piece."""
    layer, ready_s = flow.layers[at], flow.ready_s[rank][at]
    if not layer.held[rank]:
        return words.of_rank(rank, [words.ABSENT])
    if ready_s is None:
        return words.of_rank(rank, [words.NO_GRADIENT])
    parts = [words.ready(ready_s)]
    wires = [] if layer.bucket is None else flow.lines[layer.bucket].of(rank)
    if wires:
        parts.append(words.sent(wires[0].issue_s, wires[-1].done_s))
    if (norm := layer.norm(rank)) is not None:
        parts.append(words.norm(norm, layer.norm(rank, "after")))
    for when in ("before", "after"):
        if (value := layer.disagreement(rank, when)) is not None:
            parts.append(words.disagreement(when, value))
    kept = [piece_text(gradient) for gradient in layer.held[rank] if gradient.kept or gradient.owner is not None]
    return words.of_rank(rank, [*parts, *kept[:1]])


def piece_text(gradient: Gradient) -> str:
    """Return the piece that the rank keeps, "keeps [0:8, 0:16], 50.0 %", or whose optimizer updates it."""
    if gradient.kept is None:
        return words.updated_by(gradient.owner)
    ends = zip(gradient.kept.offset, gradient.kept.shape, strict=True)
    return words.keeps(", ".join(f"{start}:{start + size}" for start, size in ends), gradient.share)


def wire_tip(wire: OnWire) -> str:
    """Return the communication op, worded as in the timeline."""
    op = wire.op
    whom = words.of_group(op.group, op.seq) if op.peer is None else words.with_rank(op.kind, op.peer)
    times = words.wire_times(wire.rank, wire.issue_s, wire.done_s, wire.met_s - wire.issue_s)
    return words.on_the_wire(op.name, whom, op.bytes, op.source, times)
