"""Which rows of a gradient flow stand together: a bucket's gradients and its wire, a stage's and what it sends on."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lab_utils.timeline.gradient_flow import FlowPicture, Line

Block = tuple[
    int, list[tuple[Line, int | None]]
]  # so many layers, the next of the flow's; (line, its bucket) under them


def blocks(flow: FlowPicture) -> Iterator[Block]:
    """From the output backwards; messages stand where the last of them was sent, other lines come last."""
    messages = sorted((line for line in flow.others if line.at_s is not None), key=lambda line: line.at_s)
    layers, lines = 0, []
    for at_s, bucket, members in _anchors(flow):
        while messages and messages[0].at_s < at_s:
            lines.append((messages.pop(0), None))
        if layers + len(lines) and (lines or bucket is not None):
            yield layers, lines
            layers, lines = 0, []
        if bucket is None:
            layers += members
        else:
            yield members, [(flow.lines[bucket], bucket)]
    lines += [(line, None) for line in [*messages, *(line for line in flow.others if line.at_s is None)]]
    if layers + len(lines):
        yield layers, lines


def _anchors(flow: FlowPicture) -> Iterator[tuple[float, int | None, int]]:
    """When, which bucket, how many layers: each bucket, then each layer that is in none, in the flow's order."""
    for bucket, line in enumerate(flow.lines):
        at_s = min((wire.met_s for wire in line.ops), default=math.inf)
        yield at_s, bucket, sum(layer.bucket == bucket for layer in flow.layers)
    for at, layer in enumerate(flow.layers):
        if layer.bucket is None:
            times_s = [row[at] for row in flow.ready_s if row[at] is not None]
            yield min(times_s, default=math.inf), None, 1
