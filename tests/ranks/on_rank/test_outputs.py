"""What the notebook shows of what ranks have said, from files as ranks write them."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from lab_utils.ranks.calls import live, outputs
from lab_utils.ranks.calls.live import Live, Stream
from lab_utils.ranks.calls.outputs import Outputs
from lab_utils.ranks.on_rank.streams import DISPLAYED, STDERR, STDOUT, stream_file


class Spoken:
    """Ranks' files, and what is read from them; the process id of rank r is 100 + r."""

    def __init__(self, folder: Path, ranks: int = 2):
        self.folder, self.outputs = folder, Outputs(folder)
        for rank in range(ranks):
            self.begin(rank, 100 + rank)

    def begin(self, rank: int, pid: int) -> None:
        for stream in (STDOUT, STDERR, DISPLAYED):
            Path(stream_file(str(self.folder), stream, pid)).touch()
        self.outputs.follow(rank, pid)

    def say(self, pid: int, text: str | bytes, stream: str = STDOUT) -> None:
        with open(stream_file(str(self.folder), stream, pid), "ab") as file:
            file.write(text if isinstance(text, bytes) else text.encode())

    def written(self, pid: int) -> list[int]:
        return [Path(stream_file(str(self.folder), stream, pid)).stat().st_size for stream in (STDOUT, STDERR)]

    def display(self, pid: int, data: dict | None = None, display_id: str = "", update: bool = False) -> None:
        line = {"written": self.written(pid), "data": data, "metadata": {}, "update": update}
        line |= {"transient": {"display_id": display_id} if display_id else {}} if data else {"clear": True}
        self.say(pid, json.dumps(line) + "\n", DISPLAYED)


@pytest.fixture
def spoken(tmp_path: Path) -> Spoken:
    return Spoken(tmp_path)


def test_both_streams_once_and_identical_ranks_together(spoken: Spoken, capsys: pytest.CaptureFixture) -> None:
    for pid in (100, 101):
        spoken.say(pid, "loss 0.5\n")
    spoken.say(101, "careful\n", STDERR)
    spoken.outputs.show()
    assert capsys.readouterr() == ("ranks 0-1: loss 0.5\n", "rank 1: careful\n")
    spoken.outputs.show()
    assert capsys.readouterr() == ("", "")


def test_the_last_words_of_a_rank_that_was_replaced(spoken: Spoken, capsys: pytest.CaptureFixture) -> None:
    spoken.say(101, "first process\n")
    spoken.begin(1, 201)
    spoken.say(201, "second process\n")
    spoken.outputs.show()
    assert capsys.readouterr().out == "rank 1:\n  first process\n  second process\n"


def test_what_is_half_written_is_shown_when_it_is_whole(spoken: Spoken, capsys: pytest.CaptureFixture) -> None:
    spoken.display(100, {"text/html": "<b>x</b>", "text/plain": "a bold x"})
    path = Path(stream_file(str(spoken.folder), DISPLAYED, 100))
    line = path.read_bytes()
    path.write_bytes(line[:10])
    spoken.outputs.show()
    assert capsys.readouterr().out == ""
    path.write_bytes(line)
    spoken.outputs.show()
    assert capsys.readouterr().out == "rank 0:\na bold x\n"  # where there is no notebook


def test_displays_stand_where_they_were_made(spoken: Spoken, capsys: pytest.CaptureFixture) -> None:
    spoken.say(100, "shown before\n")
    spoken.outputs.show()  # what was shown before no longer counts
    capsys.readouterr()
    spoken.say(100, "above\n")
    spoken.display(100, {"text/plain": "picture"})
    spoken.say(100, "below\n")
    spoken.outputs.show()
    assert capsys.readouterr().out == "rank 0: above\nrank 0:\npicture\nrank 0: below\n".replace(
        "rank 0:\npicture", "picture"
    )


def test_a_display_is_updated_and_cleared(spoken: Spoken, capsys: pytest.CaptureFixture) -> None:
    spoken.say(100, "gone\n")
    spoken.say(100, "gone too\n", STDERR)
    spoken.display(100)  # clear_output()
    spoken.display(100, {"text/plain": "1 %"}, "bar")
    spoken.display(100, {"text/plain": "99 %"}, "bar", update=True)
    spoken.outputs.show()
    assert capsys.readouterr() == ("rank 0:\n99 %\n", "")


def test_carriage_returns_and_bytes_that_are_no_text(spoken: Spoken, capsys: pytest.CaptureFixture) -> None:
    spoken.say(100, "  0%\r 50%\r100%\r\nlonger\rshort\n")
    spoken.say(101, b"\xff\n")
    spoken.outputs.show()
    assert capsys.readouterr().out == "rank 0:\n  100%\n  shortr\nrank 1: \N{REPLACEMENT CHARACTER}\n"


def test_files_can_be_read_while_they_are_removed(spoken: Spoken, capsys: pytest.CaptureFixture) -> None:
    with spoken.outputs.last_words():
        spoken.say(100, "goodbye\n")
        for path in spoken.folder.iterdir():
            path.unlink()
    assert capsys.readouterr().out == "rank 0: goodbye\n"


# ------------------------------------------------------------------ while a call runs
class Shown:
    """A place whose content is kept."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.more_follows: bool | None = None

    def show(self, stream: Stream) -> None:
        self.texts.append(str(stream))

    def clear(self, more_follows: bool) -> None:
        self.more_follows = more_follows


def during(spoken: Spoken, monkeypatch: pytest.MonkeyPatch) -> tuple[Shown, contextlib.AbstractContextManager[Live]]:
    shown = Shown()
    monkeypatch.setattr(outputs, "place", lambda alone: shown)
    monkeypatch.setattr(live, "LIVE_AFTER_S", 0)
    monkeypatch.setattr(live, "EVERY_S", 0)
    return shown, spoken.outputs.live()


def test_a_call_shows_lines_as_they_come_and_all_in_rank_order_at_its_end(
    spoken: Spoken, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    shown, calling = during(spoken, monkeypatch)
    with calling as call:
        call.look()
        assert shown.texts == []  # nothing was said
        spoken.say(101, "from 1\n")
        call.look()
        call.look()  # nothing new
        spoken.say(100, "from 0\n")
        spoken.say(100, "careful\n", STDERR)
        call.look()
        assert capsys.readouterr() == ("", "")
    assert shown.texts == ["rank 1 │ from 1", "rank 1 │ from 1\nrank 0 │ from 0\nrank 0 │ careful"]
    assert shown.more_follows
    assert capsys.readouterr() == ("rank 0: from 0\nrank 1: from 1\n", "rank 0: careful\n")


def test_a_call_that_fails_leaves_what_was_printed(
    spoken: Spoken, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    shown, calling = during(spoken, monkeypatch)
    with pytest.raises(KeyboardInterrupt), calling as call:
        spoken.say(101, "so far\nand half")
        call.look()
        raise KeyboardInterrupt
    assert shown.texts == ["rank 1 │ so far\nrank 1 │ and half"] and shown.more_follows
    assert capsys.readouterr().out == "rank 1:\n  so far\n  and half\n"


def test_a_call_that_ends_without_output_says_that_none_follows(
    spoken: Spoken, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Else a notebook would wait with removing what it shows until the next output, which never comes."""
    shown, calling = during(spoken, monkeypatch)
    with calling as call:
        spoken.say(100, "gone\n")
        call.look()
        spoken.display(100)  # clear_output()
        spoken.say(100, "\n")
    assert shown.texts == ["rank 0 │ gone"] and shown.more_follows is False
    assert capsys.readouterr() == ("", "")
