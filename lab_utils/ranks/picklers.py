"""How objects are written for the other side: what a module holds by its name, what belongs to no module by value.

Code travels as Python itself writes it, with its file and lines: cloudpickle drops the file from 3.1.2 on.
"""

from __future__ import annotations

import builtins
import functools
import io
import marshal
import pickle
import sys
import types
import weakref
from importlib import import_module
from typing import Any

import cloudpickle.cloudpickle as cloud
from cloudpickle.cloudpickle import _dynamic_class_reduce as _class_by_value

from lab_utils.ranks.own_modules import is_importable, member_of, module_of, namespace_of, own_file


def rank_namespace() -> dict[str, Any]:
    """The namespace in which cells and functions run on this rank."""
    return sys.modules["__main__"].__dict__


class _Namespace:
    """Stands for the namespace that a function has on the other side, while it travels."""

    def __init__(self, *reduced: Any):
        self._reduced = reduced

    def __reduce__(self) -> tuple:
        return self._reduced


class Pickler(cloud.Pickler):
    """Writes code with its file and lines. `files` are those of all code written."""

    def __init__(self, file: io.BytesIO):
        super().__init__(file)
        self.files: set[str] = set()
        self._namespaces: dict[int, _Namespace] = {}

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
        # cloudpickle knows modules by their exact type; torch.ops and its like are of types of their own.
        name, file = obj.__name__, own_file(obj)
        if name == "__main__" or is_importable(obj):
            return (import_module, (name,)) if file is None else (module_of, (name, file))
        return cloud.dynamic_subimport, (name, {key: vars(obj)[key] for key in vars(obj).keys() - {"__builtins__"}})

    def _by_name(self, obj: types.FunctionType | type) -> tuple | None:
        """For what belongs to a module of the user's; None leaves it to cloudpickle."""
        name = getattr(obj, "__module__", None)
        module = sys.modules.get(name) if isinstance(name, str) else None
        if module is None or name == "__main__":
            return None
        if not is_importable(module):
            by_value = self._dynamic_function_reduce if isinstance(obj, types.FunctionType) else _class_by_value
            return by_value(obj)
        if (file := own_file(module)) is not None and _is_found(module, obj):
            return member_of, (name, obj.__qualname__, file)
        return None

    def _dynamic_function_reduce(self, function: types.FunctionType) -> tuple:
        """By value; it goes on using the variables of its module, where there is one."""
        values = function.__globals__
        name = values.get("__name__")
        module = sys.modules.get(name) if isinstance(name, str) else None
        if module is None or vars(module) is not values or not is_importable(module):
            return super()._dynamic_function_reduce(function)
        uses, key = _uses_variables(function), id(values)
        self.globals_ref.pop(key, None)
        if uses:
            there = _Namespace(namespace_of, (name, own_file(module)))
            self.globals_ref[key] = self._namespaces.setdefault(key, there)
        reduced = super()._dynamic_function_reduce(function)
        if uses:
            reduced[2][1]["__globals__"] = {}  # what they are there
        return reduced


def _is_found(module: types.ModuleType, obj: Any) -> bool:
    """Whether a module has this function or class under its name, or what has taken its place there."""
    found: Any = module
    for part in obj.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is obj:
        return True
    wrapped = found
    while (wrapped := getattr(wrapped, "__wrapped__", None)) is not None:
        if wrapped is obj:
            return False  # what is found adds to it
    names = [(getattr(each, "__module__", None), getattr(each, "__qualname__", None)) for each in (found, obj)]
    return callable(found) and names[0] == names[1]


def _uses_variables(function: types.FunctionType) -> bool:
    """Whether it uses more of its module than the modules that this has imported, which would do by value as well."""
    values, known = function.__globals__, vars(builtins)
    names = [name for name in cloud._extract_code_globals(function.__code__) if name in values or name not in known]
    return any(not isinstance(values.get(name), types.ModuleType) for name in names)


# ------------------------------------------------------------------ objects that cloudpickle does not write as meant
def _method(obj: types.MethodType | types.BuiltinMethodType) -> tuple | None:
    """random.random and its like: by the name that their module gives them, not with a copy of their state."""
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
    """A function in lru_cache, of the notebook or inside another: the cache is empty on the other side."""
    module = sys.modules.get(obj.__module__)
    if module is not None and is_importable(module) and _is_found(module, obj):
        return member_of, (module.__name__, obj.__qualname__, own_file(module))
    parameters = obj.cache_parameters()
    return _cache, (obj.__wrapped__, parameters["maxsize"], parameters["typed"])


def _cache(function: Any, maxsize: int | None, typed: bool) -> Any:
    return functools.lru_cache(maxsize, typed)(function)


def _cached_property(obj: functools.cached_property) -> tuple:
    return _property, (obj.func, obj.attrname)  # it holds a lock up to Python 3.11


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
    """For a call, on its way to the ranks."""

    def __init__(self, file: io.BytesIO):
        super().__init__(file)
        self.globals_ref[id(rank_namespace())] = _Namespace(rank_namespace, ())


# ------------------------------------------------------------------ results
_arrived: set[str] = set()  # by cloudpickle's ids: classes that came with calls


def load_call(file: io.BytesIO) -> Any:
    """On a rank: what FunctionPickler wrote. The classes that it brings are the notebook's."""
    before = set(cloud._DYNAMIC_CLASS_TRACKER_BY_ID)
    loaded = pickle.load(file)
    _arrived.update(set(cloud._DYNAMIC_CLASS_TRACKER_BY_ID) - before)
    return loaded


class ResultPickler(Pickler):
    """For a result; whatever needs torch to be read is turned into numpy, or refused by name."""

    def __init__(self, file: io.BytesIO, whole: type | None = None):
        super().__init__(file)
        self._whole = whole

    def reducer_override(self, obj: Any) -> Any:
        import torch

        if isinstance(obj, torch.Tensor):
            return _identity, (to_numpy(obj),)
        if isinstance(obj, torch.Size):
            return tuple, (list(obj),)
        if isinstance(obj, (torch.dtype, torch.device)):
            return str, (str(obj),)
        if type(obj).__module__.partition(".")[0] == "torch" or isinstance(obj, torch.nn.Module):
            raise TypeError(
                f"a result holds a {type(obj).__name__}, which the notebook cannot read without torch: "
                "return its tensors or numbers"
            )
        if isinstance(obj, type) and obj is not self._whole:
            tracker_id = cloud._DYNAMIC_CLASS_TRACKER_BY_CLASS.get(obj)
            if tracker_id in _arrived:  # the notebook has it, and is to keep it as it is
                file = io.BytesIO()
                ResultPickler(file, whole=obj).dump(obj)
                return _class_of, (tracker_id, file.getvalue())
        return super().reducer_override(obj)


def _class_of(tracker_id: str, pickled: bytes) -> type:
    known = cloud._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker_id)
    return pickle.loads(pickled) if known is None else known


def to_numpy(tensor):
    """The tensor's values as a numpy array; what this rank holds, for a DTensor. bfloat16 becomes float32, exactly."""
    import torch

    if hasattr(tensor, "to_local"):
        tensor = tensor.to_local()
    tensor = tensor.detach().cpu()
    if tensor.dtype is torch.bfloat16:
        tensor = tensor.float()
    return tensor.resolve_conj().resolve_neg().numpy().copy()


def _identity(value: Any) -> Any:
    return value
