"""The soak compares what a training script noted with what is shown, and with its files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from lab_utils.soak.diary import Diary, Reader, checkpoint_file
from lab_utils.soak.faults import Fault

INTERRUPT = Fault(5, "interrupt", "training_script", rank=0, step=1, place="forward")
KILL = Fault(6, "kill", "training_script", rank=0, step=1, place="forward")
LINES = ["rank 0, step 0;", "rank 0, step 1;"]
SHOWN = {"stdout": "rank 0:\n  " + "\n  ".join(LINES) + "\n", "stderr": ""}


def note(folder: Path, *, saves: int = 1, number: int = 1) -> None:
    """A rank that says two lines, begins to say another and saves."""
    with Diary(str(folder), 0) as diary:
        diary.drew(number)
        diary.in_loop()
        for line in LINES:
            with diary.saying("stdout", line):
                pass
        with pytest.raises(KeyboardInterrupt), diary.saying("stdout", "rank 0, step 2;"):
            raise KeyboardInterrupt
        for _ in range(saves):
            with zipfile.ZipFile(diary.checkpoint, "w") as file:
                file.writestr("weights", b"0123456789")
            diary.saved()


def complaints(folder: Path, fault: Fault = INTERRUPT, **shown: str) -> list[str]:
    return Reader().complaints(str(folder), 1, fault, SHOWN | shown)


def test_all_is_kept(tmp_path: Path) -> None:
    note(tmp_path)
    assert complaints(tmp_path) == []
    assert complaints(tmp_path, stdout=SHOWN["stdout"] + "rank 0, step 2;") == [], "what was being said may be shown"


def test_what_is_lost_or_shown_twice_or_in_another_order(tmp_path: Path) -> None:
    note(tmp_path)
    assert complaints(tmp_path, stdout=LINES[1]) == ["rank 0 said 'rank 0, step 0;', and it is not shown"]
    assert "rank 0 said 'rank 0, step 1;', and it is shown 2 times" in complaints(tmp_path, stdout="".join(LINES * 2))
    assert "shown as ['rank 0, step 1;', 'rank 0, step 0;']" in complaints(tmp_path, stdout="".join(LINES[::-1]))[0]
    assert complaints(tmp_path, stderr="rank 0, step 9;") == ["stderr shows 'rank 0, step 9;', which no rank said"]


@pytest.mark.parametrize("saves", [0, 2])
def test_each_rank_in_its_loop_saves_once_when_the_user_interrupts(tmp_path: Path, saves: int) -> None:
    note(tmp_path, saves=saves)
    assert complaints(tmp_path) == [f"rank 0 saved {saves} times"]
    assert complaints(tmp_path, KILL) == ([] if saves == 0 else ["rank 0 saved 2 times"])


def test_files_are_whole_and_none_is_left(tmp_path: Path) -> None:
    note(tmp_path)
    whole = checkpoint_file(tmp_path, 0).read_bytes()
    for damaged in (whole.replace(b"01234", b"43210"), whole[:-9]):
        checkpoint_file(tmp_path, 0).write_bytes(damaged)
        assert complaints(tmp_path) == ["rank 0 saved half a file"]
    checkpoint_file(tmp_path, 0).rename(tmp_path / "checkpoint-0.part")
    assert complaints(tmp_path) == ["rank 0 saved, and there is no file", "checkpoint-0.part was left"]


def test_no_number_is_drawn_twice(tmp_path: Path) -> None:
    reader, found = Reader(), []
    for number in (1, 2, 1):
        (tmp_path / "diary-0").unlink(missing_ok=True)
        note(tmp_path, number=number)
        found.append(reader.complaints(str(tmp_path), 1, INTERRUPT, SHOWN))
    assert found == [[], [], ["rank 0 drew 1, as another rank did, or another call"]]
