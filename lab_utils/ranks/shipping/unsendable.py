"""Names the part of a call that cannot be sent, or of a result that cannot be returned, as the user calls it."""

from __future__ import annotations

import functools
import inspect
import io
import pickle
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from lab_utils.ranks.shipping.own_modules import is_importable, own_file
from lab_utils.ranks.shipping.picklers import FunctionPickler, Pickler
from lab_utils.ranks.shipping.results import ResultPickler

_DEEPEST = 50  # a longer chain is named by its beginning


@dataclass(frozen=True, slots=True)
class _Place:
    """A part of a call: `path` as written in Python, `kind` such as "the argument", `user` the function using it."""

    kind: str
    path: str
    user: str = ""

    def __str__(self) -> str:
        used = f", which {self.user} uses," if self.user else ""
        return f"{self.kind} `{self.path}`{used}"

    def to(self, step: str) -> _Place:
        kind = "the attribute" if self.kind in ("the class", "the object") else self.kind
        return replace(self, kind=kind, path=self.path + step)

    def inside(self, what: str) -> _Place:
        return replace(self, kind=f"{what} of {self.kind}")


def why_not_sent(function: Callable | str, args: tuple, kwargs: dict, error: Exception) -> str:
    """Return the sentence about a call that failed to pickle with this error."""
    kind = "the object" if _is_object(function) else "the function"
    parts = [*_arguments(function, args, kwargs), (_Place(kind, _name(function)), function)]
    place, values, reason = _search(parts, FunctionPickler, error)
    what = "this call" if place is None else str(place)
    return f"{what} cannot be sent to the ranks: {reason}; {_mend(values)}"


def _mend(values: list[Any]) -> str:
    for value in reversed(values):
        for name, module in list(sys.modules.items()):
            if own_file(module) is None or not is_importable(module):
                continue
            for variable, held in vars(module).items():
                if held is value and not callable(value):
                    return f"write {name}.{variable} where it is used, which each rank has for itself"
    return "make it on the ranks, in a %%ranks cell"


def why_not_back(result: Any, error: Exception) -> str:
    """Return the sentence about a result that failed to pickle with this error."""
    if str(error).startswith("a result holds a "):
        return str(error)
    place, _, reason = _search([(_Place("", "result"), result)], ResultPickler, error)
    where = "the result" if place is None or place.path == "result" else str(place).strip()
    return f"{where} cannot come back to the notebook: {reason}; return numbers, tensors or text of it"


def _arguments(function: Callable | str, args: tuple, kwargs: dict) -> Iterator[tuple[_Place, Any]]:
    names: list[str] = []
    try:
        bound = inspect.signature(function).parameters.values()
        names = [each.name for each in bound if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    except (TypeError, ValueError):  # a name, or a builtin without a signature
        names = []
    for at, value in enumerate(args):
        yield _Place("the argument", names[at] if at < len(names) else f"args[{at}]"), value
    for name, value in kwargs.items():
        yield _Place("the argument", name), value


def _name(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", type(function).__name__)
    return name.rpartition("<locals>.")[2].replace("<lambda>", "the lambda")


def _is_object(function: Any) -> bool:
    return not hasattr(function, "__name__") and not isinstance(function, (str, functools.partial))


# ------------------------------------------------------------------ the search
def _search(parts: list, pickler: type[Pickler], error: Exception) -> tuple[_Place | None, list[Any], str]:
    """Return the innermost named part that cannot be pickled, the values from the outermost to it, and the reason."""
    found, values = None, []
    while len(values) < _DEEPEST:
        fresh = (part for part in parts if not any(part[1] is value for value in values))
        failing = next(((*part, failed) for part in fresh if (failed := _failure(part[1], pickler)) is not None), None)
        if failing is None:
            break
        found, value, failed = failing
        values.append(value)
        error = failed
        too_deep = isinstance(failed, RecursionError) or isinstance(failed.__cause__, RecursionError)
        if too_deep and not callable(value):
            return found, values, "it is nested too deeply"
        parts = list(_parts(found, value, pickler))
    return found, values, str(error)


def _failure(value: Any, pickler: type[Pickler]) -> Exception | None:
    try:
        pickler(io.BytesIO()).dump(value)
    except Exception as error:  # pickling may raise anything
        return error
    return None


def _parts(place: _Place, value: Any, pickler: type[Pickler]) -> Iterator[tuple[_Place, Any]]:
    """Yield what is sent with a value, and its place."""
    if isinstance(value, dict):
        yield from ((place.to(f"[{key!r}]"), each) for key, each in value.items())
        yield from ((place.inside("a key"), key) for key in value)
    elif isinstance(value, (list, tuple)):
        yield from ((place.to(f"[{at}]"), each) for at, each in enumerate(value))
    elif isinstance(value, (set, frozenset)):
        yield from ((place.inside("an element"), each) for each in value)
    elif isinstance(value, types.FunctionType):
        yield from _of_function(value, pickler)
    elif isinstance(value, functools.partial):
        yield from _arguments(value.func, value.args, value.keywords)
        yield place, value.func
    elif isinstance(value, types.MethodType):
        yield _Place("the object", type(value.__self__).__name__), value.__self__
    elif isinstance(value, type):
        yield from ((place.to(f".{name}"), _plain(each)) for name, each in vars(value).items())
    elif hasattr(value, "__wrapped__"):
        yield place, value.__wrapped__
    elif _is_of_the_user(type(value)):
        yield from ((place.to(f".{name}"), each) for name, each in _attributes(value))
        yield _Place("the class", type(value).__name__), type(value)


def _plain(value: Any) -> Any:
    if isinstance(value, (staticmethod, classmethod)):
        return value.__func__
    return value.fget if isinstance(value, property) else value


def _is_of_the_user(kind: type) -> bool:
    """Whether the class is the user's, so that its attributes have names that the user knows."""
    module = sys.modules.get(kind.__module__)
    return kind.__module__ == "__main__" or module is None or own_file(module) is not None


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the attributes that are pickled, without those that the class leaves out of its state."""
    if "__reduce__" in vars(type(value)) or "__reduce_ex__" in vars(type(value)):
        return
    state = value.__reduce_ex__(pickle.HIGHEST_PROTOCOL)[2]
    for each in state if isinstance(state, tuple) else (state,):
        if isinstance(each, dict):
            yield from each.items()


def _of_function(function: types.FunctionType, pickler: type[Pickler]) -> Iterator[tuple[_Place, Any]]:
    name = _name(function)
    reduced = pickler(io.BytesIO())._dynamic_function_reduce(function)
    _, state = reduced[2]
    for variable, value in state["__globals__"].items():
        yield _Place("the variable", variable, name), value
    for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if cell != types.CellType():
            yield _Place("the variable", variable, name), cell.cell_contents
    defaults = function.__defaults__ or ()
    positional = function.__code__.co_varnames[: function.__code__.co_argcount]
    named = [*zip(positional[len(positional) - len(defaults) :], defaults, strict=True)]
    for parameter, value in [*named, *(function.__kwdefaults__ or {}).items()]:
        yield _Place(f"the default of {name}'s parameter", parameter), value
    for attribute, value in vars(function).items():
        yield _Place("the attribute", f"{name}.{attribute}"), value
