"""`python -m lab_utils COMMAND ...`: what follows a command is the command's."""

from __future__ import annotations

import pytest

from lab_utils.__main__ import COMMANDS, main


def test_the_first_dashes_reach_the_command(capsys: pytest.CaptureFixture) -> None:
    assert main(["record", "--", "no-such-program", "--out"]) == 127
    assert "no-such-program cannot be started: No such file or directory." in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["nothing"], ["--", "record"]])
def test_a_command_is_needed(words: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage: python -m lab_utils" in capsys.readouterr().err


def test_help_names_them_all(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and all(f"\n{name}" in said for name in COMMANDS)
