"""Tooltips of the marks of a gradient flow."""

from __future__ import annotations

from lab_utils.text import bytes_text, percent_text, time_text
from lab_utils.widgets.gradient_flow import words
from lab_utils.widgets.gradient_flow.flow import FlowPicture, Layer, OnWire, number_text
from lab_utils.widgets.gradient_flow.record import Gradient


def layer_tip(flow: FlowPicture, at: int) -> str:
    """Return the layer, its bucket, and a line per rank."""
    lines = (words.ON_RANK.format(rank=rank, gradient=own_tip(flow, at, rank)) for rank in range(flow.world_size))
    return "\n".join([layer_head(flow.layers[at]), *lines])


def layer_head(layer: Layer) -> str:
    """Return name, shape or number of parameters, bytes, bucket."""
    first = next(held for held in layer.held if held)
    shape = " × ".join(map(str, first[0].shape)) or "1"
    if len(first) > 1:
        shape = words.PARAMETERS.format(count=len(first))
    joined = words.IN_NO_BUCKET if layer.bucket is None else words.BUCKET.format(bucket=layer.bucket)
    if len(first) == 1 and first[0].kind != "parameter":
        joined = words.OF_STAGE[first[0].kind].format(count=len(first[0].ready_s))
    size = max(sum(gradient.bytes for gradient in held) for held in layer.held)
    return words.LAYER.format(layer=layer.name, shape=shape, bytes=bytes_text(size), joined=joined)


def own_tip(flow: FlowPicture, at: int, rank: int) -> str:
    """Return one rank's gradient: times ready, sent, back, norm, disagreement, kept piece."""
    layer, ready_s = flow.layers[at], flow.ready_s[rank][at]
    if not layer.held[rank]:
        return words.ABSENT
    if ready_s is None:
        return words.NO_GRADIENT
    parts = [words.READY.format(time=time_text(ready_s))]
    if layer.bucket is not None and (wires := flow.lines[layer.bucket].of(rank)):
        parts.append(words.SENT.format(sent=time_text(wires[0].issue_s), back=time_text(wires[-1].done_s)))
    if (norm := layer.norm(rank)) is not None:
        after = layer.norm(rank, "after")
        parts.append(words.OWN_NORM.format(before=number_text(norm)))
        if after is not None:
            parts[-1] = words.OWN_NORM_AND_AFTER.format(before=number_text(norm), after=number_text(after))
    for when in ("before", "after"):
        if (value := layer.disagreement(rank, when)) is not None:
            parts.append(words.APART[when].format(value=number_text(value)))
    kept = [piece_text(gradient) for gradient in layer.held[rank] if gradient.kept or gradient.owner is not None]
    return " · ".join([*parts, *kept[:1]])


def piece_text(gradient: Gradient) -> str:
    """Return the piece that the rank keeps, "keeps [0:8, 0:16], 50.0 %", or whose optimizer updates it."""
    if gradient.kept is None:
        return words.UPDATED_BY.format(rank=gradient.owner)
    ends = zip(gradient.kept.offset, gradient.kept.shape, strict=True)
    box = ", ".join(f"{start}:{start + size}" for start, size in ends)
    return words.KEPT.format(box=box, share=percent_text(gradient.share))


def wire_tip(wire: OnWire) -> str:
    """Return the communication op, worded as in the timeline."""
    op, waited_s = wire.op, wire.met_s - wire.issue_s
    whom = words.WITH_RANK.format(kind=op.kind, rank=op.peer)
    if op.peer is None:
        whom = words.OF_GROUP.format(group=op.group, seq=op.seq)
    head = words.OP.format(op=op.name, whom=whom, bytes=bytes_text(op.bytes))
    times = words.SENT.format(sent=time_text(wire.issue_s), back=time_text(wire.done_s))
    waited = words.UNTIL_ALL_WERE_THERE.format(time=time_text(waited_s)) if waited_s > 0 else ""
    source = f" · {op.source}" if op.source else ""
    return f"{head}{source}\n{words.ON_RANK.format(rank=wire.rank, gradient=times + waited)}"
