"""The bench pairs and sums up rightly, tells what it measured, and ends well however it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from lab_utils.bench import command, figures, table
from lab_utils.bench.command import main
from lab_utils.bench.figures import RATIO, Result, Sample, Spread, at_most, figure


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> dict:
    """An empty table of figures, for figures that a test makes up."""
    empty: dict = {}
    for module in (figures, command):
        monkeypatch.setattr(module, "FIGURES", empty)
    return empty


def result(*samples: tuple, target: figures.Target | None = None) -> Result:
    made = figures.Figure("made-up", "a figure of this test", "ms", lambda: None, "the other", target)
    return Result(made, [Sample(*sample) for sample in samples])


# ---------------------------------------------------------------------- arithmetic
def test_a_spread() -> None:
    assert Spread.of([4.0]) == (4.0, 4.0, 4.0, 4.0)
    assert Spread.of([3.0, 1.0, 2.0, 10.0]) == (2.5, 1.0, 10.0, pytest.approx(7.9))
    assert Spread.of([float(i) for i in range(101)]).p90 == pytest.approx(90)


def test_ratios_are_of_pairs() -> None:
    """Pairs under changing load: the ratio of the medians would be 4 / 3."""
    pairs = result((1.0, 1.0), (4.0, 2.0), (30.0, 3.0), (2.0, 10.0), (200.0, 100.0))
    assert pairs.measured.median / pairs.reference.median == pytest.approx(4 / 3)
    assert pairs.ratio == (2.0, 0.2, 10.0, pytest.approx(6.8))


def test_without_a_reference_there_is_no_ratio() -> None:
    alone = result((1.0,), (3.0,))
    assert alone.measured.median == 2.0
    assert (alone.reference, alone.ratio) == (None, None)


@pytest.mark.parametrize(
    ("most", "of", "met"),
    [(6, "measured", True), (5.9, "measured", False), (3, RATIO, True), (2.9, RATIO, False)],
)  # fmt: skip
def test_a_target_is_of_the_median(most: float, of: str, met: bool) -> None:
    found = result((5.0, 4.0), (6.0, 2.0), (900.0, 3.0), target=at_most(most, of))
    assert found.met is met
    assert table.verdict(found) == ("met" if met else "not met")


def test_no_verdict_without_target_or_samples() -> None:
    assert table.verdict(result((1.0, 1.0))) == table.NONE
    assert result(target=at_most(1)).met is None
    assert table.verdict(result(target=at_most(1))) == "not measured"


def test_a_line_of_the_table() -> None:
    found = result((5.0, 4.0), (6.0, 2.0), (1900.0, 3.0), target=at_most(50))
    assert table.cells(found) == (
        "made-up", "6.00 ms (5.00–1,900)", "3.00 ms (2.00–4.00) the other", "3.00 ×", "≤ 50 ms", "met"
    )  # fmt: skip
    many = result(*[(float(i),) for i in range(101)])
    assert table.cells(many)[1:] == ("50.0 ms (0.00–100, p90 90.0)", "–", "–", "–", "–")


# ---------------------------------------------------------------------- registering and choosing
def test_one_function_registers_a_figure_the_nearest_decorator_first(registry: dict) -> None:
    @figure("twice", "two", "s", size=2)
    @figure("once", "one", "s", size=1)
    def sized(size: int) -> Iterator[Sample]:
        yield Sample(size)

    assert list(registry) == ["once", "twice"]
    assert [list(each.round()) for each in registry.values()] == [[(1, None)], [(2, None)]]
    with pytest.raises(ValueError, match="two figures are named once"):
        figure("once", "again", "s")(sized)


def test_names_and_families_are_chosen_in_the_tables_order() -> None:
    def names(*only: str) -> list[str]:
        return [each.name for each in command.chosen(only)]

    assert names("start") == ["start"]  # a name, although it is a family too
    assert names("run", "memory") == names("memory-8", "memory-4", "run")
    assert set(names("run", "memory")) == {"run", "memory-4", "memory-8"}
    assert names("record") == [name for name in figures.FIGURES if name.startswith("record-")]
    assert [each.name for each in command.chosen(None)] == list(figures.FIGURES)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--only", "speed"], "no figure is named speed: there are "),
        (["--repeat", "0"], "0 is not a whole number from 1 up"),
        (["--json", "no/such/folder/file.json"], "No such file or directory: 'no/such/folder/file.json'"),
    ],
)
def test_bad_usage_is_told_before_anything_is_measured(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    said = capsys.readouterr()
    assert exit.value.code == 2
    assert says in said.err and said.out == ""


# ---------------------------------------------------------------------- a run of the command
def made_up(steps: list[str], stop: Callable[[], None] = lambda: None) -> None:
    """Three figures: one that works, one that calls `stop` between its two samples, one after it."""

    @figure("first", "works", "s", reference="another", target=at_most(3, RATIO))
    def first() -> Iterator[Sample]:
        yield Sample(4.0, 2.0)

    @figure("second", "may stop", "MB")
    def second() -> Iterator[Sample]:
        try:
            yield Sample(7.0)
            stop()
            yield Sample(9.0)
        finally:
            steps.append("cleaned up")

    @figure("third", "comes last", "s", rounds=1)
    def third() -> Iterator[Sample]:
        yield Sample(1.0)


def test_repeats_table_and_json(registry: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps: list[str] = []
    made_up(steps)
    file = tmp_path / "figures.json"
    assert main(["--repeat", "2", "--only", "second", "first", "--json", str(file)]) == 0
    assert steps == ["cleaned up"] * 2
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0].split("  ")[0] == "figure"
    beside = "2.00 s (2.00–2.00) another 2.00 × (2.00–2.00)"
    assert lines[1].split() == f"first 4.00 s (4.00–4.00) {beside} ≤ 3 × met".split()
    assert lines[2].startswith("second  8.00 MB (7.00–9.00)")
    assert "[2/2] second: may stop" in said.err
    one, two = json.loads(file.read_text(encoding="utf-8"))["figures"]
    assert (one["name"], one["met"], one["target"]) == ("first", True, {"most": 3, "of": "ratio"})
    assert one["ratio"]["median"] == 2.0
    assert [sample["measured"] for sample in two["samples"]] == [7.0, 9.0, 7.0, 9.0]


def test_a_figure_that_fails_leaves_the_others(registry: dict, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise OSError("no room\nfor details")

    steps: list[str] = []
    made_up(steps, fail)
    assert main([]) == 1
    first, second, third = capsys.readouterr().out.splitlines()[1:4]
    assert first.endswith("  met")
    assert second.endswith("failed: OSError: no room") and "7.00 MB" in second
    assert third.startswith("third   1.00 s")
    assert steps == ["cleaned up"]


def test_an_interrupt_keeps_what_was_measured(
    registry: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    steps: list[str] = []
    made_up(steps, interrupt)
    file = tmp_path / "figures.json"
    assert main(["--json", str(file)]) == command.INTERRUPTED
    first, second, third = capsys.readouterr().out.splitlines()[1:4]
    assert first.endswith("  met") and "7.00 MB" in second and third.endswith("not measured")
    assert steps == ["cleaned up"]
    assert [len(each["samples"]) for each in json.loads(file.read_text(encoding="utf-8"))["figures"]] == [3, 1, 0]


def test_ctrl_c_ends_programs_and_shows_the_table(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "lab_utils", "bench", "--only", "start", "run"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as bench:
        said = next(line for line in bench.stderr if line.startswith("[1/2] start"))
        started = psutil.Process(bench.pid).children(recursive=True)
        bench.send_signal(signal.SIGINT)
        out, err = bench.communicate()
    assert said and bench.returncode == command.INTERRUPTED
    assert "Traceback" not in err and "Interrupted" in err
    assert [row.split()[0] for row in out.splitlines()[:3]] == ["figure", "start", "run"]
    assert out.count("not measured") == 2
    assert psutil.wait_procs(started)[1] == []
