"""Calls that end as scripts do, or in an exception that cannot say what it is."""

from __future__ import annotations

import pytest
from stuck_programs import agree

from lab_utils.ranks import RankError, Ranks


def end_as_scripts_do() -> None:
    import torch.distributed as dist

    dist.destroy_process_group()


def raise_what_has_no_text() -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise KeyError("none")

    raise Silent


def test_a_call_that_destroys_its_group_is_followed_by_one_that_has_it(ranks2: Ranks) -> None:
    ranks2.run(end_as_scripts_do)
    assert ranks2.run(agree) == [1.0, 1.0]


def test_an_exception_whose_text_fails_is_told_like_any_other(ranks2: Ranks) -> None:
    with pytest.raises(RankError, match=r"^ranks 0-1 raised Silent: \(no text: its __str__ raised KeyError\)"):
        ranks2.run(raise_what_has_no_text)
    assert ranks2.run(agree) == [1.0, 1.0]
