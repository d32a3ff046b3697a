"""Packs functions for the ranks and results for the notebook, whose kernel has no torch.

A function defined in the notebook is sent by value. Its globals on the rank are the rank's own namespace, which
`%%ranks` and `%%px` cells fill; so it may use names that exist only there. Members of a module are sent by name and
use the rank's module and its variables. Tensors anywhere in a result arrive as numpy arrays.
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

    TypeError names what cannot be sent, as it is called in the notebook.
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
    """Return on the rank the function, looked up when it is a name, and its arguments."""
    file = io.BytesIO(payload)
    settle(pickle.load(file))
    function, args, kwargs = load_call(file)
    if isinstance(function, str):
        function = _named(function)
    return function, args, kwargs


def settle(now: Surroundings) -> None:
    """Follow the notebook's folder and path on the rank, and reload changed modules, before a call."""
    take_over(now)
    refresh(now.stale, rank_namespace())


def _named(name: str) -> Callable:
    """Return the function of this name on the rank. NameError, TypeError: there is none, or it is not callable."""
    module = sys.modules.get(name.partition(".")[0])
    known = {} if own_file(module) is None else {module.__name__: module}  # a user's module that no cell has imported
    try:
        found = eval(name, known | rank_namespace() if known else rank_namespace())
    except NameError:
        raise NameError(f"{name} is not defined here: run the %%ranks cell that defines it") from None
    if not callable(found):
        raise TypeError(f"{name} is not a function here, but a {type(found).__name__}")
    return found


def pack_result(result: Any) -> bytes:
    """Return the pickled result. TypeError names what cannot be sent back, by its place in the result."""
    file = io.BytesIO()
    try:
        ResultPickler(file).dump(result)
    except Exception as error:
        raise TypeError(why_not_back(result, error)) from None  # a cause would be shown instead
    return file.getvalue()
