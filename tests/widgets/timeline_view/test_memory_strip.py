"""What ranks hold over time: counted from a schedule, and drawn so that no peak is lost."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timeline_samples import compute, ddp

from lab_utils.schedule import Costs, schedules, simulate
from lab_utils.timeline import Trace
from lab_utils.timeline.hardware import Hardware, Link
from lab_utils.timeline.memory import Memory
from lab_utils.timeline.ops import Rise
from lab_utils.widgets.timeline_view.memory_strip import FINEST, _coarse


def test_what_one_f_one_b_holds() -> None:
    """Two ranks, two micro-batches, F and B and W each 1: by hand."""
    first, last = simulate(schedules.one_f_one_b(2, 2), Costs()).memory
    assert list(zip(first.time_s, first.held, strict=True)) == [(0, 1), (1, 2), (6, 1), (9, 0)]
    assert list(zip(last.time_s, last.held, strict=True)) == [(1, 1), (4, 0), (4, 1), (7, 0)]
    assert (first.unit, first.peak, first.text(first.peak)) == ("micro-batches", 2, "2 micro-batches")


@given(st.integers(1, 6), st.integers(1, 12), st.floats(0, 2))
def test_peaks_are_the_schedules_own(stages: int, microbatches: int, comm: float) -> None:
    for make in (schedules.gpipe, schedules.one_f_one_b):
        timeline = simulate(make(stages, microbatches), Costs(comm=comm))
        assert tuple(memory.peak for memory in timeline.memory) == timeline.peak_activations
        assert all(memory.held[-1] == 0 for memory in timeline.memory)


def test_bytes_of_each_stage() -> None:
    timeline = simulate(schedules.gpipe(2, 3), Costs(activation_bytes=[1e9, 5e6]))
    assert [memory.text(memory.peak) for memory in timeline.memory] == ["3.00 GB", "15.0 MB"]
    with pytest.raises(ValueError, match="activation_bytes has 3 costs, and there are 2 stages"):
        _ = simulate(schedules.gpipe(2, 3), Costs(activation_bytes=[1, 2, 3])).memory


def test_a_recorded_timeline_tells_nothing_of_memory() -> None:
    assert ddp().timeline().memory is None


def test_what_is_let_go_at_an_instant_goes_first() -> None:
    memory = Memory.of_changes(np.array([2.0, 1.0, 2.0]), np.array([1.0, 1.0, -1.0]), "bytes")
    assert memory.held.tolist() == [1, 0, 1]


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(0, 9)), min_size=1, max_size=80))
def test_coarse_steps_keep_peaks_and_ends(steps: list[tuple[float, int]]) -> None:
    x, held = (np.array(column, float) for column in zip(*sorted(steps), strict=True))
    at, drawn = _coarse(x, held)
    assert drawn.max() == held.max() and drawn[-1] == held[-1] and (np.diff(at) >= 0).all()
    assert len(at) <= max(len(x), 2 * (50 / FINEST + 1))


def test_the_picture_has_a_strip_for_each_rank_all_to_one_scale() -> None:
    picture = simulate(schedules.one_f_one_b(3, 4), Costs()).to_svg()
    drawn = re.findall(r'<path d="M100 ([\d.]+)([^"]*)"[^>]*data-memory="(\d)"', picture)
    heights = [float(bottom) - min(map(float, re.findall(r"V([\d.]+)", path))) for bottom, path, _ in drawn]
    assert [rank for *_, rank in drawn] == ["0", "1", "2"]
    assert heights == pytest.approx([14, 14 * 2 / 3, 14 / 3], abs=0.02)


def test_memory_rises_when_it_does_and_not_when_its_op_begins() -> None:
    """Half of an op's kernels, and nine tenths of its time, pass before it takes its memory."""
    rises = (Rise(0.0, 0.0, 10), Rise(0.9, 0.5, 4_000_000))
    op = compute(0, 0.0, 1.0, kernels=2, live_bytes=20, peak_bytes=4_000_000, rises=rises)
    trace = Trace(((op, compute(0, 1.0, 2.0, live_bytes=20, peak_bytes=30)),))
    (measured,) = trace.timeline().memory
    assert measured.time_s.tolist() == pytest.approx([0, 0.9, 1, 1, 2])
    assert measured.held.tolist() == [10, 4_000_000, 20, 30, 20]  # the second op: its rises were not recorded
    (predicted,) = trace.timeline(Hardware(None, Link("any", 0, 1))).memory
    assert predicted.time_s.tolist() == pytest.approx([0, 0.5, 1, 1, 2]) and predicted.peak == 4_000_000
    steps = re.search(r'<path d="M100 ([\d.]+)([^"]*)"[^>]*data-memory="0"', trace.timeline().to_svg())[2]
    x = next(x for x, y in re.findall(r"H([\d.]+)V([\d.]+)", steps) if float(y) == min_y(steps))
    assert float(x) == pytest.approx(100 + 0.9 / 2 * 724, abs=0.1)


def min_y(steps: str) -> float:
    return min(map(float, re.findall(r"V([\d.]+)", steps)))


def test_rises_are_saved_with_a_trace_and_a_file_without_them_is_read(tmp_path) -> None:
    trace = Trace(((compute(0, 0.0, 1.0, live_bytes=20, rises=(Rise(0.0, 0.0, 10), Rise(0.9, 0.5, 20))),),))
    trace.save(tmp_path / "trace.json")
    assert Trace.load(tmp_path / "trace.json") == trace
    content = json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))
    for op in content["ops"][0]:
        del op["rises"]
    (tmp_path / "trace.json").write_text(json.dumps(content), encoding="utf-8")
    assert Trace.load(tmp_path / "trace.json").ops[0][0].rises == ()
