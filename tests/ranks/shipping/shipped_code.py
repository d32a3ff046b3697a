"""Code of every kind, and where it comes from: to be the same here and on a rank. As a program: prints what is not."""

from __future__ import annotations

import contextlib
import functools
import json
import types
from dataclasses import dataclass

import cloudpickle

from lab_utils import start_ranks


def announced(function):
    @functools.wraps(function)
    def inner(*args):
        return function(*args)

    return inner


def plain(x):
    return [y + 1 for y in x]


@announced
def decorated(x):
    return x


def generated(x):
    yield x


async def awaited(x):
    return x


def outer():
    base = 1

    def nested(x):
        return lambda y: x + y + base

    return nested


@dataclass
class Model:
    width: int = 2

    def method(self):
        return self.width

    @classmethod
    def of_class(cls):
        return cls()

    @staticmethod
    def of_none():
        return 0

    @property
    def double(self):
        return 2 * self.width

    @contextlib.contextmanager
    def inside(self):
        yield self

    class Part:
        def method(self):
            return self


KINDS = {
    "function": plain,
    "lambda": lambda x: x,
    "decorated": decorated,
    "generator": generated,
    "coroutine": awaited,
    "nested": outer(),
    "partial": functools.partial(plain, [1]),
    "bound method": Model().method,
    "class": Model,
}


def places(thing: object) -> list[tuple[str, str, int]]:
    """(name, file, first line) of all code in it, of what it wraps and of what it holds."""
    if isinstance(thing, types.CodeType):
        own = [(thing.co_qualname, thing.co_filename, thing.co_firstlineno)] if thing.co_filename != "<string>" else []
        return own + [place for inner in thing.co_consts for place in places(inner)]
    if isinstance(thing, type):
        return [place for name, value in sorted(vars(thing).items()) if name != "__class__" for place in places(value)]
    parts = [getattr(thing, name, None) for name in ("__code__", "__func__", "__wrapped__", "func", "fget")]
    return [place for part in parts if part is not None for place in places(part)]


def all_places() -> dict[str, list[tuple[str, str, int]]]:
    return {kind: places(thing) for kind, thing in KINDS.items()}


if __name__ == "__main__":
    with start_ranks(1) as ranks:
        (there,) = ranks.run(all_places)
    print(json.dumps({"cloudpickle": cloudpickle.__version__, "same": there == all_places()}))
