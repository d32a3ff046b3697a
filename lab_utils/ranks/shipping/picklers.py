"""Picklers for both directions: members of a module are written by name, everything else by value.

Code is written with marshal, which keeps its file and lines: cloudpickle drops the file from 3.1.2 on.
"""

from __future__ import annotations

import builtins
import functools
import io
import marshal
import sys
import types
import weakref
from importlib import import_module
from typing import Any

import cloudpickle.cloudpickle as cloud
from cloudpickle.cloudpickle import _dynamic_class_reduce as _class_by_value

from lab_utils.ranks.shipping.own_modules import is_importable, own_file
from lab_utils.ranks.shipping.reloading import member_of, module_of, namespace_of


def rank_namespace() -> dict[str, Any]:
    """Return the namespace in which cells and functions run on this rank."""
    return sys.modules["__main__"].__dict__


class There:
    """A placeholder that unpickles to the receiver's own object."""

    def __init__(self, *reduced: Any):
        self._reduced = reduced

    def __reduce__(self) -> tuple:
        return self._reduced


class Pickler(cloud.Pickler):
    """Writes code with its file and lines. `files` are the files of all code written."""

    def __init__(self, file: io.BytesIO):
        super().__init__(file)
        self.files: set[str] = set()
        self._namespaces: dict[int, There] = {}

    def reducer_override(self, obj: Any) -> Any:
        reduced = None
        if isinstance(obj, (types.FunctionType, type)):
            reduced = self._by_name(obj)
        elif isinstance(obj, types.ModuleType):
            reduced = self._module(obj)
        elif type(obj) is types.CodeType:
            self.files.add(obj.co_filename)
            reduced = marshal.loads, (marshal.dumps(obj),)
        elif (special := _SPECIAL.get(type(obj))) is not None:
            reduced = special(obj)
        elif obj is sys.stdout or obj is sys.stderr:
            reduced = getattr, (sys, "stdout" if obj is sys.stdout else "stderr")
        return super().reducer_override(obj) if reduced is None else reduced

    def _module(self, obj: types.ModuleType) -> tuple | None:
        # cloudpickle recognizes modules by exact type; torch.ops and others have their own types.
        name, file = obj.__name__, own_file(obj)
        if name == "__main__" or is_importable(obj):
            return (import_module, (name,)) if file is None else (module_of, (name, file))
        return cloud.dynamic_subimport, (name, {key: vars(obj)[key] for key in vars(obj).keys() - {"__builtins__"}})

    def _by_name(self, obj: types.FunctionType | type) -> tuple | None:
        """Reduce a function or class of a user's module; None leaves it to cloudpickle."""
        name = getattr(obj, "__module__", None)
        module = sys.modules.get(name) if isinstance(name, str) else None
        if module is None or name == "__main__":
            return None
        if getattr(obj, "__globals__", None) is rank_namespace():  # from a cell, in place of the function it wraps
            return self._dynamic_function_reduce(obj)
        if not is_importable(module):
            by_value = self._dynamic_function_reduce if isinstance(obj, types.FunctionType) else _class_by_value
            return by_value(obj)
        if (file := own_file(module)) is not None and _is_found(module, obj):
            return member_of, (name, obj.__qualname__, file)
        return None

    def _dynamic_function_reduce(self, function: types.FunctionType) -> tuple:
        """Reduce a function by value; on the receiver it uses its module's own variables, where it has a module."""
        values = function.__globals__
        name = values.get("__name__")
        module = sys.modules.get(name) if isinstance(name, str) else None
        if module is None or vars(module) is not values or not is_importable(module):
            return super()._dynamic_function_reduce(function)
        uses, key = _uses_variables(function), id(values)
        self.globals_ref.pop(key, None)
        if uses:
            there = There(namespace_of, (name, own_file(module)))
            self.globals_ref[key] = self._namespaces.setdefault(key, there)
        reduced = super()._dynamic_function_reduce(function)
        if uses:
            reduced[2][1]["__globals__"] = {}  # the receiver's values are used
        return reduced


def held_by_module(function: Any, modules: list[types.ModuleType]) -> There | None:
    """Return a placeholder for a callable that a user's module holds as a variable, or for a method of one.

    Most functions are found by their own name; this is for what a decorator has put in their place.
    """
    if getattr(function, "__globals__", None) is rank_namespace() or type(function).__module__ == "__main__":
        return None  # defined in the notebook
    if type(function) is types.MethodType:
        owner = held_by_module(function.__self__, modules)
        return None if owner is None else There(getattr, (owner, function.__name__))
    home = sys.modules.get(getattr(function, "__module__", None) or "")
    named = home is not None and hasattr(function, "__qualname__") and _is_found(home, function)
    if named or isinstance(function, str):
        return None
    for module in modules:
        for name, value in list(vars(module).items()):
            if value is function and is_importable(module):
                return There(member_of, (module.__name__, name, own_file(module)))
    return None


def _is_found(module: types.ModuleType, obj: Any) -> bool:
    """Whether a module has this function or class under its name, or its replacement of the same name."""
    found: Any = module
    for part in obj.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is obj:
        return True
    wrapped = found
    while (wrapped := getattr(wrapped, "__wrapped__", None)) is not None:
        if wrapped is obj:
            return False  # found is a wrapper around it
    names = [(getattr(each, "__module__", None), getattr(each, "__qualname__", None)) for each in (found, obj)]
    return callable(found) and names[0] == names[1]


def _uses_variables(function: types.FunctionType) -> bool:
    """Whether the function uses variables of its module other than imported modules, which could go by value."""
    values, known = function.__globals__, vars(builtins)
    names = [name for name in cloud._extract_code_globals(function.__code__) if name in values or name not in known]
    return any(not isinstance(values.get(name), types.ModuleType) for name in names)


# ------------------------------------------------------------------ objects that cloudpickle writes wrongly
def _method(obj: types.MethodType | types.BuiltinMethodType) -> tuple | None:
    """Reduce a method such as random.random by its name in the module, without copying its object's state."""
    owner, name = obj.__self__, obj.__name__
    if owner is None or isinstance(owner, types.ModuleType):
        return None
    module = sys.modules.get(type(owner).__module__)
    if module is not None and is_importable(module):
        found = vars(module).get(name)
        if type(found) is type(obj) and found == obj:
            return member_of, (module.__name__, name, own_file(module))
    if type(obj) is types.MethodType and getattr(owner, name, None) == obj:
        return getattr, (owner, name)
    return None


def _cached(obj: Any) -> tuple | None:
    """Reduce an lru_cache function, by name or with an empty cache if it is the notebook's or nested."""
    module = sys.modules.get(obj.__module__)
    if module is not None and is_importable(module) and _is_found(module, obj):
        return member_of, (module.__name__, obj.__qualname__, own_file(module))
    parameters = obj.cache_parameters()
    return _cache, (obj.__wrapped__, parameters["maxsize"], parameters["typed"])


def _cache(function: Any, maxsize: int | None, typed: bool) -> Any:
    return functools.lru_cache(maxsize, typed)(function)


def _cached_property(obj: functools.cached_property) -> tuple:
    return _property, (obj.func, obj.attrname)  # holds a lock up to Python 3.11


def _property(function: Any, name: str | None) -> functools.cached_property:
    made = functools.cached_property(function)
    made.attrname = name
    return made


_SPECIAL = {
    types.MethodType: _method,
    types.BuiltinMethodType: _method,
    functools._lru_cache_wrapper: _cached,
    functools.cached_property: _cached_property,
    weakref.WeakKeyDictionary: lambda obj: (weakref.WeakKeyDictionary, (dict(obj),)),
}


class FunctionPickler(Pickler):
    """Writes a call for the ranks; the notebook's namespace becomes the rank's."""

    def __init__(self, file: io.BytesIO):
        super().__init__(file)
        self.globals_ref[id(rank_namespace())] = There(rank_namespace, ())
