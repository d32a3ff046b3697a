"""Functions go to the ranks and results come back, without torch in the notebook's kernel.

Code travels as Python itself writes it, with its file and lines: cloudpickle drops the file from 3.1.2 on.

A function defined in the notebook travels by value. Its globals on the rank are the rank's own namespace, the
one `%%ranks` and `%%px` cells fill; so it may use names that exist only there. Tensors in results arrive as
numpy arrays, wherever they stand in the result.
"""

from __future__ import annotations

import io
import marshal
import pickle
import sys
import types
from collections.abc import Callable
from importlib import import_module
from typing import Any

import cloudpickle


def rank_namespace() -> dict[str, Any]:
    """The namespace in which cells and functions run on this rank."""
    return sys.modules["__main__"].__dict__


class _RankNamespace:
    """Stands for the rank's namespace while a function travels."""

    def __reduce__(self):
        return rank_namespace, ()


class _CodePickler(cloudpickle.Pickler):
    """Writes code with its file and lines. `files` are those of all code written."""

    def __init__(self, file: io.BytesIO):
        super().__init__(file)
        self.files: set[str] = set()

    def reducer_override(self, obj: Any):
        if isinstance(obj, types.CodeType):
            self.files.add(obj.co_filename)
            return marshal.loads, (marshal.dumps(obj),)
        return super().reducer_override(obj)


class _FunctionPickler(_CodePickler):
    def __init__(self, file: io.BytesIO):
        super().__init__(file)
        here = sys.modules["__main__"].__dict__
        self.globals_ref[id(here)] = _RankNamespace()

    def reducer_override(self, obj: Any):
        # cloudpickle knows modules by their exact type; torch.ops and its like are of types of their own.
        if isinstance(obj, types.ModuleType) and sys.modules.get(obj.__name__) is obj:
            return import_module, (obj.__name__,)
        return super().reducer_override(obj)


def pack(function: Callable | str, args: tuple, kwargs: dict) -> tuple[bytes, set[str]]:
    """Return function (or its name on the ranks, such as "train") and arguments as bytes, and the files of their code.

    TypeError: what cannot travel.
    """
    file = io.BytesIO()
    pickler = _FunctionPickler(file)
    by_value = _modules_of_the_user(function)
    for module in by_value:
        cloudpickle.register_pickle_by_value(module)
    try:
        pickler.dump((function, args, kwargs))
    except (pickle.PicklingError, TypeError, ValueError) as error:  # ValueError: marshal's, for code
        raise TypeError(f"this call cannot be sent to the ranks: {error}") from error
    finally:
        for module in by_value:
            cloudpickle.unregister_pickle_by_value(module)
    return file.getvalue(), pickler.files


def unpack(payload: bytes) -> tuple[Callable, tuple, dict]:
    """On the rank: the function, looked up when it is a name, and its arguments."""
    function, args, kwargs = pickle.loads(payload)
    if isinstance(function, str):
        function = _named(function)
    return function, args, kwargs


def _named(name: str) -> Callable:
    """What a cell defined on this rank. NameError, TypeError: there is none, or it is no function."""
    try:
        found = eval(name, rank_namespace())
    except NameError:
        raise NameError(f"{name} is not defined here: run the %%ranks cell that defines it") from None
    if not callable(found):
        raise TypeError(f"{name} is no function here, but of type {type(found).__name__}")
    return found


def _modules_of_the_user(function: Callable | str) -> list[types.ModuleType]:
    """The function's module when it is the user's own file: it travels as it is now, not as ranks once imported it."""
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    own = file and "site-packages" not in file and not module.__name__.startswith("lab_utils")
    return [module] if own and module.__name__ != "__main__" else []


class _ResultPickler(_CodePickler):
    """Pickles on the rank; whatever needs torch to be read is turned into numpy, or refused by name."""

    def reducer_override(self, obj: Any):
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
        return super().reducer_override(obj)


def pack_result(result: Any) -> bytes:
    file = io.BytesIO()
    _ResultPickler(file).dump(result)
    return file.getvalue()


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
