"""The stream of lines that a long call shows: whose each is, in the order in which they came."""

from __future__ import annotations

import io
import threading
from typing import Any

import IPython.display
import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.display import DisplayHandle

from lab_utils.ranks.calls import live
from lab_utils.ranks.calls.live import InNotebook, OnTerminal, Stream, lines_so_far
from lab_utils.ranks.calls.said import Said

LINES = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp", "Cs"]), min_size=1)


def say(said: dict[int, Said], rank: int, stdout: str = "", stderr: str = "") -> dict[int, Said]:
    each = said.setdefault(rank, Said())
    each.stdout += stdout.encode()
    each.stderr += stderr.encode()
    return said


def display(said: dict[int, Said], rank: int, **what: Any) -> None:
    each = said[rank]
    each.displays.append({"written": [len(each.stdout), len(each.stderr)], "update": False, **what})


@pytest.fixture
def said() -> dict[int, Said]:
    return {}


@given(st.lists(st.tuples(st.integers(0, 3), LINES), max_size=30))
def test_each_line_stands_once_in_the_order_in_which_it_came(spoken: list[tuple[int, str]]) -> None:
    stream, said = Stream(), {}
    for rank, line in spoken:
        assert stream.take(say(said, rank, f"{line}\n"))
        assert not stream.take(said)  # nothing new
    assert str(stream).split("\n") == [f"rank {rank} │ {line}" for rank, line in spoken] or not spoken


def test_ranks_that_say_the_same_at_once_are_named_together(said: dict[int, Said]) -> None:
    stream = Stream()
    for rank in (0, 1, 3):
        say(said, rank, "epoch 0\n")
    stream.take(say(said, 2, "late\n"))
    assert str(stream) == "ranks 0-1, 3 │ epoch 0\nrank 2       │ late"


def test_a_progress_bar_stands_below_and_changes_in_place(said: dict[int, Said]) -> None:
    stream = Stream()
    stream.take(say(say(said, 0, "begin\n"), 1, stderr="\r  0%|    |\r 25%|█   |"))
    assert str(stream) == "rank 0 │ begin\nrank 1 │  25%|█   |"
    stream.take(say(say(said, 1, stderr="\r 75%|███ |"), 0, "more\n"))
    assert str(stream) == "rank 0 │ begin\nrank 0 │ more\nrank 1 │  75%|███ |"
    stream.take(say(said, 1, stderr="\r100%|████|\n"))
    assert str(stream) == "rank 0 │ begin\nrank 0 │ more\nrank 1 │ 100%|████|"


def test_a_bar_within_a_bar(said: dict[int, Said]) -> None:
    """The inner one is drawn a line below, and the cursor goes back up after each drawing."""
    stream = Stream()
    stream.take(say(said, 0, stderr="start\n\router 0%\n\rinner 0%\x1b[A\n\rinner 50%\x1b[A\router 1%"))
    assert str(stream) == "rank 0 │ start\nrank 0 │ outer 1%\nrank 0 │ inner 50%"
    stream.take(say(said, 0, stderr="\n\rinner 99%\x1b[A\router 2%"))
    assert str(stream) == "rank 0 │ start\nrank 0 │ outer 2%\nrank 0 │ inner 99%"
    after = [f"line {number}" for number in range(10)]
    stream.take(say(said, 0, stderr="\n\n" + "\n".join(after) + "\n"))
    lines = ["start", "outer 2%", "inner 99%", *after]
    assert str(stream).split("\n") == [f"rank 0 │ {line}" for line in lines]
    assert stream.take(say(said, 0, stderr="once\n")) and str(stream).endswith("rank 0 │ line 9\nrank 0 │ once")


def test_only_the_last_lines_and_how_many_came_before(said: dict[int, Said]) -> None:
    stream = Stream()
    stream.take(say(said, 0, "".join(f"step {step}\n" for step in range(100))))
    first, *rest = str(stream).split("\n")
    assert first == "60 lines before these: all are shown when the cell ends"
    assert rest == [f"rank 0 │ step {step}" for step in range(60, 100)]


def test_what_a_rank_has_cleared_is_gone_and_displays_are_named(said: dict[int, Said]) -> None:
    stream = Stream()
    for rank in (0, 1):
        say(said, rank, "both\n")
    stream.take(said)
    say(said, 0, "then")
    display(said, 0, data={"text/plain": "<Figure size 640x480>", "image/png": "..."}, transient={})
    say(said, 0, "below\n")
    stream.take(said)
    lines = ["ranks 0-1 │ both", "rank 0    │ then", "rank 0    │ <Figure size 640x480>", "rank 0    │ below"]
    assert str(stream) == "\n".join(lines) and stream.counts == {0: 4, 1: 1}
    say(said, 0, "one\ntwo\n")
    display(said, 0, data={"text/plain": "a table\nof two lines"}, transient={})
    stream.take(said)
    lines += [f"rank 0    │ {line}" for line in ("one", "two", "a table", "of two lines")]
    assert str(stream) == "\n".join(lines) and stream.counts == {0: 8, 1: 1}
    display(said, 0, clear=True)
    stream.take(say(said, 0, "new\n"))
    assert str(stream) == "rank 1 │ both\nrank 0 │ new" and stream.counts == {0: 1, 1: 1}


# ------------------------------------------------------------------ in a notebook
@pytest.mark.parametrize(("alone", "more"), [(True, True), (True, False), (False, True)])
def test_a_notebooks_display_is_replaced_and_removed_where_the_cell_has_nothing_else(
    said: dict[int, Said], monkeypatch: pytest.MonkeyPatch, alone: bool, more: bool
) -> None:
    """What cannot be removed stays as an empty display, and shows nothing."""
    done: list[object] = []
    monkeypatch.setattr(DisplayHandle, "display", lambda _, data, raw: done.append(data))
    monkeypatch.setattr(DisplayHandle, "update", lambda _, data, raw: done.append(data))
    monkeypatch.setattr(IPython.display, "clear_output", lambda wait: done.append(f"clear, wait={wait}"))
    stream, place = Stream(), InNotebook(alone)
    place.clear(more)
    assert done == []  # nothing was shown
    for line in ("one\n", "two\n"):
        stream.take(say(said, 0, line))
        place.show(stream)
    place.clear(more)
    texts = [{}, {"text/plain": "rank 0 │ one"}, {"text/plain": "rank 0 │ one\nrank 0 │ two"}, {}]
    assert done == [*texts, *([f"clear, wait={more}"] if alone else [])]


def test_what_other_threads_print_meanwhile_is_not_removed(
    said: dict[int, Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    cleared: list[bool] = []
    monkeypatch.setattr(DisplayHandle, "display", lambda _, data, raw: None)
    monkeypatch.setattr(DisplayHandle, "update", lambda _, data, raw: None)
    monkeypatch.setattr(IPython.display, "clear_output", lambda wait: cleared.append(wait))
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(live.sys, stream, io.StringIO())
    for speaks in (True, False):
        stream, place = Stream(), InNotebook(alone=True)
        stream.take(say(said, 0, "one\n"))
        place.show(stream)
        if speaks:
            thread = threading.Thread(target=print, args=["watched"])
            thread.start()
            thread.join()
        place.clear(more_follows=True)
        assert cleared == ([] if speaks else [True])
    assert live.sys.stdout.getvalue() == "watched\n"
    assert "write" not in vars(live.sys.stdout) and "write" not in vars(live.sys.stderr)


# ------------------------------------------------------------------ on a terminal
@pytest.mark.parametrize("same", [True, False])
def test_streams_are_as_before_where_both_are_one_or_cannot_be_watched(
    monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(live.sys, "stdout", out)
    monkeypatch.setattr(live.sys, "stderr", out if same else None)
    printed = live.Printed()
    assert printed.end() is not same, "of what cannot be watched nothing is known"
    assert "write" not in vars(out)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_counts_and_is_clean_afterwards(said: dict[int, Said], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, stream, place = Terminal(), Stream(), OnTerminal()
    monkeypatch.setattr(live.sys, "stderr", terminal)
    for rank in (0, 1):
        say(said, rank, "a line\n")
    stream.take(say(said, 2, "one\ntwo\nthr"))
    place.show(stream)
    assert terminal.getvalue() == "\rranks 0-1: 1 line, rank 2: 2 lines …\x1b[K"
    place.clear(more_follows=True)
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_a_file_gets_nothing_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    assert live.place(alone=True) is None  # pytest keeps what is printed
    monkeypatch.setattr(live.sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(live.place(alone=True), OnTerminal)


def test_counts() -> None:
    assert lines_so_far({0: 14, 1: 14, 2: 1}) == "ranks 0-1: 14 lines, rank 2: 1 line …"
