"""Each figure of the bench is measured on a small scale; nothing is said about how long it took."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import nbformat
import psutil
import pytest

import lab_utils.ranks.processes.stock_ipyparallel
from lab_utils.bench import command, figures, timed
from lab_utils.bench.figures_of import (
    chapters,
    context,
    pipeline,
    predicted,
    ranks,
    record,
    simulate,
    strategies,
    tensor,
)
from lab_utils.ranks import RankDied, Ranks
from lab_utils.schedule import Costs


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """The test leaves no process behind; one that has ended and was not yet asked how (a zombie) is none."""
    before = running()
    yield
    assert running() - before == set()


def running() -> set[psutil.Process]:
    return {child for child in psutil.Process().children(recursive=True) if not has_ended(child)}


def has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


ORDER = {"stages": 2, "microbatches": 3}
ON_SHARED = ("run", "record-on", "memory", "context")
NO_TORCH = "import sys; sys.modules['torch'] = sys"  # the reference of `start` need not load it here
SMALL = {"elements": 8, "ops": 2, "pairs": 3, "per_s": 1e6}
ROUNDS = {
    "start": lambda: ranks.start(ranks.LAB, ranks=2),
    "memory": lambda: ranks.memory(ranks=1),
    "run": lambda: ranks.run(ranks=2),
    "simulate-placed": lambda: simulate.placed(**ORDER),
    "simulate-ordered": lambda: simulate.ordered(**ORDER),
    "simulate-hub": lambda: simulate.hubs(spokes=3),
    "simulate-written": lambda: simulate.written(**ORDER),
    "peak": lambda: strategies.peak("zero1", strategies.SIZES["1M"]),
    "context": lambda: context.activations(context.PEAK, tokens=64),
    "search": lambda: simulate.searched(ranks=2, microbatches=3, costs=Costs(2, 2, 1)),
    "record-on": lambda: record.record(through=record.RECORDED, **SMALL),
}


@pytest.fixture
def shared(ranks2: Ranks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of what ranks do get the tests' own, beside a process that is new; how ranks start, the others show."""

    @contextmanager
    def with_a_process(size: int) -> Iterator[Ranks]:
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE):
            yield ranks2

    monkeypatch.setattr(lab_utils.ranks, "start_ranks", with_a_process)


@pytest.fixture
def renewed(ranks2: Ranks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures that want new ranks get the tests' own in new processes, which hold nothing of what was before."""

    @contextmanager
    def in_new_processes(size: int) -> Iterator[Ranks]:
        assert size == ranks2.size
        with pytest.raises(RankDied):
            ranks2.run(lambda: os._exit(3))
        yield ranks2

    monkeypatch.setattr(lab_utils.ranks, "start_ranks", in_new_processes)


@pytest.mark.parametrize("name", ROUNDS)
def test_each_figure_is_measured(name: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if name in ON_SHARED:
        request.getfixturevalue("shared")
    request.getfixturevalue("renewed" if name == "peak" else "nothing_left")
    if name == "run":  # the stock cluster itself is started for "memory"
        view = request.getfixturevalue("ranks2").client[:]
        monkeypatch.setattr(
            lab_utils.ranks.processes.stock_ipyparallel, "stock_cluster", lambda size: nullcontext((view, []))
        )
    monkeypatch.setattr(ranks, "CALLS", 3)
    monkeypatch.setattr(ranks, "WARM_UP", 1)
    monkeypatch.setattr(ranks, "IMPORT_TORCH", f"{NO_TORCH}; {ranks.IMPORT_TORCH}")
    samples = list(ROUNDS[name]())
    assert len(samples) == {"run": 3, "record": SMALL["pairs"], "simulate": simulate.TIMES}.get(
        name.partition("-")[0], 1
    )
    assert all(measured > 0 for measured, _ in samples)
    assert all(reference is None if name == "search" else reference > 0 for _, reference in samples)


def test_every_registered_figure_is_one_of_those() -> None:
    """The rounds above stand for all: what is registered differs from them in sizes only."""
    tried = {ranks.start, ranks.memory, ranks.run, record.record, chapters.run_chapter, simulate.searched}
    tried |= {simulate.placed, simulate.ordered, simulate.hubs, simulate.written, strategies.step, strategies.peak}
    tried |= {context.activations}
    tried |= {predicted.predicted, pipeline.pipeline}  # in test_this_machine.py, test_pipeline_bench.py
    tried |= {tensor.step, tensor.wire, tensor.peak}  # in test_tensor_bench.py
    assert {each.round.func for each in command.FIGURES.values()} <= tried
    assert {each.round.keywords.get("through") for each in command.FIGURES.values()} >= {
        record.GLOO, record.LAB, record.RECORDED
    }  # fmt: skip


def test_recording_is_on_for_the_recorded_figure_only(ranks2) -> None:
    """The recorder has seen the ops of one and not of the other."""
    with pytest.raises(Exception, match="already under way"):
        ranks2.record(record.all_reduce_in_turns, 1, 1, 1, record.RECORDED)
    seen = ranks2.record(record.all_reduce_in_turns, 1, 1, 1, record.LAB)
    for ops in seen.ops:
        names = [op.name for op in ops if op.kind == "collective"]
        assert names.count("all_reduce") == record.WARM_UP + 1  # plain gloo's are not seen


@pytest.mark.parametrize("pair", strategies.PAIRS)
def test_strategies_take_turns_with_pytorch_s_own(ranks2, pair: str) -> None:
    size = strategies.Size(1, 16, 1)
    by_rank = ranks2.run(strategies.in_turns, pair, size, 1)
    assert [len(pairs) for pairs in by_rank] == [1, 1]
    assert min(*by_rank[0][0], *by_rank[1][0]) > 0


def notebook(path: Path, *cells: str) -> Path:
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(made, path)
    return path


def test_chapters_are_run_in_their_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_left: None
) -> None:
    registry: dict = {}
    monkeypatch.setattr(figures, "FIGURES", registry)
    notebook(tmp_path / "00_good.ipynb", "import pathlib", "pathlib.Path('seen').write_text('ran here')")
    notebook(tmp_path / "01_bad.ipynb", "1 / 0")
    chapters.register(tmp_path)
    assert list(registry) == ["chapter-00_good", "chapter-01_bad"]
    good, bad = registry.values()
    assert [sample.measured > 0 for sample in good.round()] == [True]
    assert (tmp_path / "seen").read_text(encoding="utf-8") == "ran here"
    with pytest.raises(RuntimeError, match="exit status 1: ZeroDivisionError: division by zero"):
        list(bad.round())


def test_a_program_that_fails_gives_its_last_words(nothing_left: None) -> None:
    with pytest.raises(RuntimeError, match="exit status 1: SystemError: no luck"):
        timed.seconds_until_ready("raise SystemError('no luck')")
    with pytest.raises(RuntimeError, match="exit status 3: it said nothing"):
        timed.seconds_until_ready(f"{timed.READY}; raise SystemExit(3)")
