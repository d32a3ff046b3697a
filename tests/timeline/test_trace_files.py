"""What Trace.load says of a file that is no trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab_utils.timeline import Trace

WHOLE = '{"format": "lab_utils trace 1", "ops": [], "phases": []}'
NOT_TRACES = {
    WHOLE[:30]: "is no trace, or only a part of one: ",
    '{"traceEvents": []}': "holds something else, and this version reads 'lab_utils trace 1', which trace.save writes",
    WHOLE.replace("1", "0"): "holds 'lab_utils trace 0', and this version reads 'lab_utils trace 1', ",
    WHOLE.replace("[]", "[[{}]]", 1): "was changed since trace.save wrote it: KeyError 'ranks'",
    WHOLE.replace("}", ', "others": [1]}'): "was changed since trace.save wrote it: IndexError ",
}


@pytest.mark.parametrize(("text", "said"), NOT_TRACES.items(), ids=["part", "foreign", "older", "changed", "others"])
def test_a_file_that_is_no_trace_is_named_in_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "trace.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError) as raised:
        Trace.load(path)
    assert str(raised.value).startswith(f"{path} {said}")


def test_a_saved_trace_still_says_that_the_machine_was_busy(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    for others in ((1.25, 2), None):
        Trace((), others=others).save(path)
        assert Trace.load(path).others == others
    path.write_text(WHOLE, encoding="utf-8")  # saved before traces told of it
    assert Trace.load(path).others is None


def test_a_trace_that_is_not_there_is_named_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        Trace.load(tmp_path / "none.json")
    assert str(raised.value) == (
        f"there is no file {tmp_path / 'none.json'}: trace.save writes one, and so does python -m lab_utils record"
    )
    with pytest.raises(IsADirectoryError, match="is a folder: name the file in it"):
        Trace.load(tmp_path)
