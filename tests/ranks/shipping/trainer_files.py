"""Modules as a user writes them, in a folder of the test's own, and how they are edited. For pytest_plugins."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

TRAINER = """
import enum, functools, threading
from own_helpers import RATE, TWICE, helped
class Mode(enum.Enum): TRAIN = 1
_lock, steps = threading.Lock(), 0
def announced(function):
    @functools.wraps(function)
    def inner(*args): return function(*args)
    return inner
def step():
    global steps
    with _lock:
        steps += 1
    return steps
def text():
    return "first"
@announced
def decorated(): return "first"
@functools.lru_cache
def cached(): return "first"
def without_a_name(function):
    return lambda: function()
@without_a_name
def undecorated(): return "first"
class Kept:
    def __init__(self, function): self.function = function
    def __call__(self): return self.function()
@Kept
def kept(): return "first"
class Base:
    def __init__(self):
        pass
    def text(self):
        return "first"
class Counter:
    def __init__(self):
        self.lock, self.counted = threading.Lock(), 0
    def count(self):
        self.counted += 1
        return self.counted
counter = Counter()
def stepping(by):
    def more():
        global steps
        steps += by
        return steps
    return more
def helpers():
    return RATE, TWICE, helped()
"""
HELPERS = "RATE = 1\nTWICE = 2 * RATE\ndef helped():\n    return 'first'\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of modules on the path; each test has names of its own, so that none meets another's."""
    known = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(tmp_path) in repr(sys.modules[name]):
            del sys.modules[name]


@pytest.fixture
def trainer(folder: Path, request: pytest.FixtureRequest) -> types.ModuleType:
    own = f"of_{request.node.name}"
    Path(folder, f"helpers_{own}.py").write_text(HELPERS, encoding="utf-8")
    Path(folder, f"{own}.py").write_text(TRAINER.replace("own_helpers", f"helpers_{own}"), encoding="utf-8")
    return importlib.import_module(own)
