"""Functions go to the ranks and results come back, without torch in the notebook's kernel.

A function defined in the notebook travels by value. Its globals on the rank are the rank's own namespace, the
one `%%ranks` and `%%px` cells fill; so it may use names that exist only there. What belongs to a module travels by
name, and meets the module that lives on the rank, with its variables there. Tensors in results arrive as numpy arrays,
wherever they stand in the result.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable
from typing import Any

from lab_utils.ranks.shipping.own_modules import own_file
from lab_utils.ranks.shipping.picklers import FunctionPickler, held_by_module, rank_namespace
from lab_utils.ranks.shipping.reloading import refresh
from lab_utils.ranks.shipping.results import ResultPickler, load_call
from lab_utils.ranks.shipping.surroundings import Surroundings, modules_here, surroundings, take_over
from lab_utils.ranks.shipping.unsendable import why_not_back, why_not_sent


def pack(function: Callable | str, args: tuple, kwargs: dict) -> tuple[bytes, set[str]]:
    """Return function (or its name on the ranks, such as "train") and arguments as bytes, and the files of their code.

    TypeError: what cannot travel, by the name that it has in the notebook.
    """
    file = io.BytesIO()
    pickle.dump(surroundings(), file)
    pickler = FunctionPickler(file)
    try:
        pickler.dump((held_by_module(function, modules_here.all()) or function, args, kwargs))
    except Exception as error:
        raise TypeError(why_not_sent(function, args, kwargs, error)) from error
    return file.getvalue(), pickler.files


def unpack(payload: bytes) -> tuple[Callable, tuple, dict]:
    """On the rank: the function, looked up when it is a name, and its arguments."""
    file = io.BytesIO(payload)
    settle(pickle.load(file))
    function, args, kwargs = load_call(file)
    if isinstance(function, str):
        function = _named(function)
    return function, args, kwargs


def settle(now: Surroundings) -> None:
    """On the rank, before it runs a call: be where the notebook is, and have its modules as their files are."""
    take_over(now)
    refresh(now.stale, rank_namespace())


def _named(name: str) -> Callable:
    """What a cell defined on this rank. NameError, TypeError: there is none, or it is no function."""
    module = sys.modules.get(name.partition(".")[0])
    known = {} if own_file(module) is None else {module.__name__: module}  # one that no cell has imported
    try:
        found = eval(name, known | rank_namespace() if known else rank_namespace())
    except NameError:
        raise NameError(f"{name} is not defined here: run the %%ranks cell that defines it") from None
    if not callable(found):
        raise TypeError(f"{name} is no function here, but of type {type(found).__name__}")
    return found


def pack_result(result: Any) -> bytes:
    """TypeError: what cannot come back, by its place in the result."""
    file = io.BytesIO()
    try:
        ResultPickler(file).dump(result)
    except Exception as error:
        raise TypeError(why_not_back(result, error)) from None  # of an error with a cause the cause is shown
    return file.getvalue()
