"""A recorded layer at sizes that no CPU could run: what its ops do is a polynomial in the sizes; no torch.

FLOPs and bytes of a layer's kernels, and bytes of its messages, are sums of the monomials below with rational
coefficients. Recordings of as many small layers as there are monomials give them, without rounding, and further
recordings, which the coefficients have to meet to the last byte, show that there are no other monomials.

Letters:  T tokens   C channels   H heads
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

from lab_utils.timeline import Trace
from lab_utils.timeline.ops import Op

FIELDS = ("flops", "bytes", "other_bytes", "kernels")


class Sizes(NamedTuple):
    """Of a layer: one sequence of `tokens`, with `channels` in `heads` heads."""

    tokens: int
    channels: int
    heads: int


def monomials(sizes: Sizes) -> tuple[int, ...]:
    """Return T·C², T²·C, T·C, C², T·H, T², T, C, 1."""
    t, c, h = sizes
    return (t * c * c, t * t * c, t * c, c * c, t * h, t * t, t, c, 1)


@dataclass(frozen=True)
class ScaledLayer:
    """A layer's forward and backward on some ranks, as a trace of any sizes.

    like          the trace of one recording: its ops in their order
    coefficients  [rank][op][field] -> one per monomial
    """

    like: Trace
    coefficients: tuple[tuple[tuple[tuple[Fraction, ...], ...], ...], ...]

    @classmethod
    def from_recordings(cls, recorded: Mapping[Sizes, Trace]) -> ScaledLayer:
        """Fit the recordings of one layer at several sizes.

        ValueError when there are too few to tell the monomials apart, when the ranks did not run the same ops at all
        sizes, or when an op is no such polynomial.
        """
        sizes, traces = list(recorded), list(recorded.values())
        _check_alike(traces)
        inverse, used = _inverse([monomials(each) for each in sizes])
        coefficients = []
        for rank in range(traces[0].world_size):
            by_op = zip(*(trace.ops[rank] for trace in traces), strict=True)
            coefficients.append(tuple(_of_op(ops, sizes, inverse, used) for ops in by_op))
        return cls(traces[0], tuple(coefficients))

    def at(self, sizes: Sizes) -> Trace:
        """Return the trace at these sizes, without times: only for hardware with a device."""
        values = monomials(sizes)
        by_rank = zip(self.like.ops, self.coefficients, strict=True)
        return Trace(tuple(tuple(_op_at(op, each, values) for op, each in zip(*pair, strict=True)) for pair in by_rank))


def _op_at(op: Op, coefficients: Sequence[Sequence[Fraction]], values: Sequence[int]) -> Op:
    of_fields = {name: round(_value(each, values)) for name, each in zip(FIELDS, coefficients, strict=True)}
    timeless = dict.fromkeys(("issue_s", "wait_s", "done_s", "live_bytes", "peak_bytes"))
    return replace(op, **of_fields, **timeless, rises=())


def _value(coefficients: Sequence[Fraction], values: Sequence[int]) -> Fraction:
    return sum((c * v for c, v in zip(coefficients, values, strict=True) if c), Fraction())


def _of_op(
    ops: Sequence[Op], sizes: Sequence[Sizes], inverse: Sequence[Sequence[Fraction]], used: Sequence[int]
) -> tuple[tuple[Fraction, ...], ...]:
    """Return the coefficients of one op's fields, from the op at each of the sizes."""
    found = []
    for name in FIELDS:
        counted = [getattr(op, name) for op in ops]
        row = tuple(_value(line, [counted[at] for at in used]) for line in inverse)
        for each, count in zip(sizes, counted, strict=True):
            if (expected := _value(row, monomials(each))) != count:
                raise ValueError(
                    f"{name} of {ops[0].name} (op {ops[0].source or 'unknown'}) are {count} at {each}, and the other "
                    f"recordings say {float(expected):g}: this layer does not scale as its sizes' monomials"
                )
        found.append(row)
    return tuple(found)


def _inverse(rows: Sequence[Sequence[int]]) -> tuple[list[list[Fraction]], list[int]]:
    """Return the inverse of the first independent rows, and which these are: Gauss-Jordan in fractions."""
    width = len(rows[0])
    used: list[int] = []
    lines: list[tuple[int, list[Fraction]]] = []  # pivot, reduced row with the combination of rows that it is
    for at, row in enumerate(rows):
        line = [*map(Fraction, row), *(Fraction(len(used) == i) for i in range(width))]
        for pivot, other in lines:
            line = _minus(line, other, line[pivot])
        pivot = next((i for i in range(width) if line[i]), None)
        if pivot is None:
            continue
        line = [value / line[pivot] for value in line]
        lines = [(p, _minus(other, line, other[pivot])) for p, other in lines]
        lines.append((pivot, line))
        used.append(at)
        if len(used) == width:
            return [line[width:] for _, line in sorted(lines)], used
    raise ValueError(f"{len(rows)} recordings tell {len(used)} of {width} monomials apart: record more sizes")


def _minus(line: list[Fraction], other: list[Fraction], factor: Fraction) -> list[Fraction]:
    return [a - factor * b for a, b in zip(line, other, strict=True)] if factor else line


def _check_alike(traces: Sequence[Trace]) -> None:
    first = [[(op.kind, op.name, op.of) for op in ops] for ops in traces[0].ops]
    for trace in traces:
        if [[(op.kind, op.name, op.of) for op in ops] for ops in trace.ops] != first:
            raise ValueError("the ranks ran other ops at some of the sizes: these recordings are not of one layer")
