"""What cannot be sent to the ranks, or come back, is named as its user named it."""

from __future__ import annotations

import concurrent.futures
import functools
import io
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from lab_utils.ranks import RankError, Ranks
from lab_utils.ranks.shipping.shipping import pack

A_LOCK = "cannot pickle '_thread.lock' object"
SHARED = threading.Lock()
MEND = "make it on the ranks, in a %%ranks cell"


@dataclass
class Holder:
    lock: Any
    inner: Any = None

    def held(self) -> Any:
        return self.lock


def inner_holder() -> Holder:
    return Holder(1, Holder({"all": [threading.Lock()]}))


def in_a_closure(value: Any) -> Callable:
    def train() -> Any:
        return value

    return train


def in_a_helper(value: Any) -> Callable:
    helper = in_a_closure(value)

    def outer() -> Any:
        return helper()

    return outer


def in_a_default(value: Any) -> Callable:
    def train(batch: int, *, by: Any = value) -> Any:
        return by

    return train


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


def sent(function: Callable | str, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(TypeError) as raised:
        pack(function, args, kwargs)
    return str(raised.value)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (threading.Lock, A_LOCK),
        (lambda: (each for each in ()), "cannot pickle 'generator' object"),
        (lambda: io.BufferedWriter(io.BytesIO()), "cannot pickle '_io.BufferedWriter' object"),
        (lambda: socket.socket(socket.AF_UNIX), "cannot pickle 'socket' object"),
        (lambda: concurrent.futures.ThreadPoolExecutor(1), "cannot pickle '_queue.SimpleQueue' object"),
        (lambda: nested(100_000), "it is nested too deeply"),
    ],
    ids=["lock", "generator", "file", "socket", "pool", "recursion"],
)
def test_what_a_function_uses(make: Callable, reason: str) -> None:
    value = make()
    said = f"the variable `value`, which train uses, cannot be sent to the ranks: {reason}; {MEND}"
    assert sent(in_a_closure(value)) == sent(in_a_helper(value)) == sent(functools.partial(in_a_closure(value))) == said
    if isinstance(value, socket.socket):
        value.close()


def test_where_it_stands() -> None:
    lock = threading.Lock()
    places = {
        sent(len, lock): "the argument `obj`",
        sent(lambda batch, **_: batch, 1, by=[lock]): "the argument `by[0]`",
        sent("train", 1, lock): "the argument `args[1]`",
        sent(lambda batch: batch, {"a": inner_holder()}): "the argument `batch['a'].inner.lock['all'][0]`",
        sent(lambda batch: batch, {lock: 1}): "a key of the argument `batch`",
        sent(in_a_default(lock), 1): "the default of train's parameter `by`",
        sent(Holder(lock).held): "the attribute `Holder.lock`",
        sent(functools.partial(in_a_default(1), by=lock), 1): "the argument `by`",
        sent(functools.lru_cache(in_a_closure(lock))): "the variable `value`, which train uses,",
    }
    assert {said: f"{place} cannot be sent to the ranks: {A_LOCK}; {MEND}" for said, place in places.items()} == {
        said: said for said in places
    }


def test_what_a_module_has_is_on_each_rank_too() -> None:
    assert sent(in_a_closure(SHARED)).endswith(
        f"; write {__name__}.SHARED where it is used, which each rank has for itself"
    )


def test_what_cannot_come_back(ranks2: Ranks) -> None:
    for make, said in [
        (lambda: [1, inner_holder()], f"`result[1].inner.lock['all'][0]` cannot come back to the notebook: {A_LOCK}"),
        (threading.Lock, f"the result cannot come back to the notebook: {A_LOCK}"),
        (
            lambda: {"deep": nested(100_000)},
            "the result cannot come back to the notebook: it is nested too deeply",
        ),
    ]:
        with pytest.raises(RankError) as raised:
            ranks2.run(make)
        assert str(raised.value) == f"ranks 0-1 raised TypeError: {said}; return numbers, tensors or text of it"


def test_what_comes_back_and_cannot_be_read_here(ranks2: Ranks) -> None:
    class Strict(Exception):
        def __init__(self, reason: str, code: int):
            super().__init__(reason)

    with pytest.raises(TypeError, match=r"^the result of rank 0 cannot be read here: TypeError: .*'code'; return "):
        ranks2.run(lambda: Strict("a reason", 1))
