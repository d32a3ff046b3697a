"""`make torch-suite` names each test that differs, and no other. The suite itself belongs to `make test-latest`."""

from __future__ import annotations

import pytest
import torch_suite
from torch_suite import complaints, in_one_line


def result(became: str, why: str = "", kind: str = "plain") -> dict:
    return {"became": became, "why": why, "groups": [[kind]] * torch_suite.RANKS}


PASSED, RECORDED = result("passed"), result("passed", kind="recorded")
TRACEBACKS = """RuntimeError: Process 0 exited with error code 10 and exception:
Traceback (most recent call last):
ValueError: 3
Process 1 exited with error code 10 and exception:
RuntimeError: gone

To execute this test, run the following from the base repo dir:"""
SKIPPED = result("skipped", "CUDA is not available.")


def test_what_is_equal_is_counted() -> None:
    plain = {"test_a": PASSED, "test_b": PASSED, "test_c": SKIPPED}
    recorded = {"test_a": RECORDED, "test_b": RECORDED, "test_c": SKIPPED}
    assert list(complaints(plain, recorded)) == []
    line = in_one_line(plain, recorded, 10.0, 12.0)
    assert "4 ranks: 2 tests pass plain and recorded, 1 skipped in both; 10 s plain, 12 s recorded (1.20" in line


@pytest.mark.parametrize(
    ("plain", "recorded", "complaint"),
    [
        (
            PASSED,
            result("failed", TRACEBACKS),
            "test_a passed plain and failed recorded: ValueError: 3 / RuntimeError: gone",
        ),
        (PASSED, SKIPPED, "test_a passed plain and skipped recorded: CUDA is not available."),
        (PASSED, None, "test_a passed plain and missing recorded: no reason given"),
        (SKIPPED, result("skipped", "no gloo"), "test_a skipped plain and skipped recorded: no gloo"),
        (result("failed", "OSError: x"), RECORDED, "test_a failed plain, so it says nothing: OSError: x"),
        (PASSED, PASSED, "test_a had groups [['plain'], ['plain'], ['plain'], ['plain']] plain and [['plain'], "),
        (RECORDED, RECORDED, "test_a had groups [['recorded'], "),
        (PASSED, {**RECORDED, "groups": [["recorded"]]}, " plain and [['recorded']] recorded, by rank"),
    ],
)
def test_what_differs_is_named(plain: dict, recorded: dict | None, complaint: str) -> None:
    (said,) = complaints({"test_a": plain}, {} if recorded is None else {"test_a": recorded})
    assert complaint in said
