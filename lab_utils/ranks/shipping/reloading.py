"""Reloads the user's modules on a rank when their files have changed, and updates objects imported from them.

It reloads in place, as importlib.reload does, but runs only what has changed: a model in a variable is kept. References
elsewhere are updated too. IPython's autoreload fails where a function gets a decorator or a method calls super(), and
leaves the old code in decorated functions.
"""

from __future__ import annotations

import ast
import contextlib
import enum
import functools
import gc
import importlib
import sys
import types
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from lab_utils.ranks.shipping.own_modules import OwnModules, OwnSources, Source, Stamp, same_file, title

_FUNCTIONS = ast.FunctionDef, ast.AsyncFunctionDef
_DOES = ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr
_waiting: dict[str, types.ModuleType] = {}  # changed modules that have not been reloaded yet
_failed: dict[str, str] = {}  # modules whose reload failed, so that they are older than their file: why


def _as_loaded(module: types.ModuleType, _: str) -> Stamp | None:
    return getattr(getattr(module, "__spec__", None), "stamp", None)


own_modules = OwnModules(_as_loaded)


def refresh(named: Iterable[str], namespace: dict[str, Any]) -> None:
    """Reload changed modules, and print which unless they are in `named`. Raise the first error of a reload.

    Later calls print that the module is still old, until its file changes again.

    namespace   may hold names imported from a module
    """
    _waiting.update({module.__name__: module for module in own_modules.changed()})
    errors, still_old = [], _failed.keys() - _waiting.keys()
    for module in _in_order(list(_waiting.values())) if _waiting else ():
        name = module.__name__
        try:
            said = _load_again(module, namespace)
        except Exception as error:
            _failed[name] = f"{title(module)} has changed and could not be reloaded ({type(error).__name__}: {error})"
            errors.append(error)
        else:
            _failed.pop(name, None)
            if name not in named:
                print(said, file=sys.stderr)
        del _waiting[name]  # kept when interrupted
    for name in sorted(still_old):
        print(f"{_failed[name]}: this rank still has the code of before", file=sys.stderr)
    if errors:
        raise errors[0]


def try_again(module: types.ModuleType) -> None:
    """Reload a module whose reload failed, before a call that needs it; raises again if it still fails."""
    if module.__name__ in _failed:
        _load_again(module, vars(sys.modules["__main__"]))
        del _failed[module.__name__]


def module_of(name: str, file: str | None) -> types.ModuleType:
    """Import the module that the sender has from this file. ImportError: another one has the name here."""
    module = import_module(name)
    there = getattr(module, "__file__", None)
    if file is not None and (there is None or not same_file(there, file)):
        other, here = ("the notebook", "this rank") if OwnSources in sys.meta_path else ("the ranks", "this notebook")
        raise ImportError(
            f"the module {name} of {other} is {file}, and {here} has {there or 'one without a file'} under that name: "
            "give yours a name that nothing else has"
        )
    try_again(module)
    return module


def member_of(name: str, qualname: str, file: str | None) -> Any:
    """Return what the module's file now defines under this name."""
    found = module_of(name, file)
    for part in qualname.split("."):
        if not hasattr(found, part):
            raise AttributeError(f"the module {name}, as it is loaded here, has no {qualname}")
        found = getattr(found, part)
    return found


def namespace_of(name: str, file: str | None) -> dict[str, Any]:
    return vars(module_of(name, file))


def _load_again(module: types.ModuleType, namespace: dict[str, Any]) -> str:
    """Reload the module in place and return the message to print. The module is unchanged when it raises."""
    importlib.invalidate_caches()  # zip files are cached
    values, old = vars(module), dict(vars(module))
    code, source = _code(module)
    if code is None:
        return f"{title(module)} has changed, but Python cannot reload it: ranks.restart() starts ranks that have it"
    try:
        exec(code, values)
    except BaseException:
        for name in values.keys() - old.keys():
            del values[name]
        values.update(old)
        raise
    if isinstance(loader := _loader(module), Source):
        loader.source = source
        defined = _names(ast.parse(source))
        for name, value in old.items():
            if _is_code_of(module, value) and values.get(name) is value and name not in defined:
                del values[name]
    _hand_over(module, old, namespace)
    return f"{title(module)} has changed and was reloaded"


def _code(module: types.ModuleType) -> tuple[types.CodeType | None, bytes]:
    """Return the code to run from the file as it is now, and its source.

    All functions and classes, and other statements that have changed: saving a file must not throw away what the
    module holds (a model, a thread that it started).
    """
    loader = _loader(module)
    if not isinstance(loader, Source):
        return loader.get_code(module.__name__) if hasattr(loader, "get_code") else None, b""
    source = loader.get_data(loader.path)
    tree = ast.parse(source, loader.path)
    before = {ast.dump(node) for node in ast.parse(loader.source).body}
    new = {node.name for node in tree.body if isinstance(node, _FUNCTIONS) and ast.dump(node) not in before}
    runs = []
    for node in tree.body:
        if ast.dump(node) not in before or not _is_held(node, vars(module), new):
            runs.append(node)
            new |= _names(node) if _does(node) else set()
    tree.body = runs
    return compile(tree, loader.path, "exec", dont_inherit=True), source


def _is_held(node: ast.stmt, values: dict[str, Any], new: set[str]) -> bool:
    """Whether an unchanged statement is not run again; `new` are names that have changed."""
    if isinstance(node, ast.ClassDef):
        return isinstance(values.get(node.name), enum.EnumType)  # its members are compared by `is`
    return _does(node) and not any(isinstance(part, ast.Name) and part.id in new for part in ast.walk(node))


def _does(node: ast.stmt) -> bool:
    """Whether a statement is more than imports and definitions."""
    is_definition = isinstance(node, (*_FUNCTIONS, ast.ClassDef))
    return not is_definition and any(isinstance(part, _DOES) for part in ast.walk(node))


def _names(tree: ast.AST) -> set[str]:
    """Return all names that the code assigns or defines."""
    nodes = list(ast.walk(tree))
    defined = {node.name for node in nodes if isinstance(node, (*_FUNCTIONS, ast.ClassDef))}
    return defined | {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _defined(module: types.ModuleType) -> set[str]:
    """Return the names of its file's top-level functions and classes, which decorators may turn into anything."""
    body = ast.parse(getattr(_loader(module), "source", b"")).body
    return {node.name for node in body if isinstance(node, (*_FUNCTIONS, ast.ClassDef))}


def _is_code_of(module: types.ModuleType, value: Any) -> bool:
    is_code = isinstance(value, (type, types.FunctionType)) or hasattr(value, "__wrapped__")
    return is_code and getattr(value, "__module__", None) == module.__name__


def _loader(module: types.ModuleType) -> Any:
    return vars(module).get("__loader__")


# ------------------------------------------------------------------ imports between modules
def _in_order(modules: list[types.ModuleType]) -> list[types.ModuleType]:
    """Return the modules sorted, each after those that it imports from."""
    by_name = {module.__name__: module for module in modules}
    ordered: dict[str, types.ModuleType] = {}
    ahead: set[str] = set()

    def add(name: str) -> None:
        if name in by_name and name not in ahead:
            ahead.add(name)
            for needed, _, _ in _imports(by_name[name]):
                add(needed)
            ordered[name] = by_name[name]

    for name in by_name:
        add(name)
    return list(ordered.values())


def _imports(module: types.ModuleType) -> Iterator[tuple[str, str, str]]:
    """Yield (module, name there, name here) per top-level import of a module; names are "" for a module import."""
    with contextlib.suppress(SyntaxError, OSError, ValueError):  # reported when it is reloaded
        tree = ast.parse(Path(module.__file__).read_bytes())
        for node in tree.body:
            if isinstance(node, ast.Import):
                yield from ((alias.name, "", "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                source = "." * node.level + (node.module or "")
                source = importlib.util.resolve_name(source, module.__package__) if node.level else source
                for alias in node.names:
                    yield source, alias.name, alias.asname or alias.name
                    yield f"{source}.{alias.name}", "", ""


# ------------------------------------------------------------------ references elsewhere
def _hand_over(module: types.ModuleType, old: dict[str, Any], namespace: dict[str, Any]) -> None:
    """Update what other modules and the namespace have imported from the module, and objects still referenced."""
    new = vars(module)
    pairs = {name: (value, new[name]) for name, value in old.items() if name in new and new[name] is not value}
    defined = _defined(module)
    ours = {name for name, (was, _) in pairs.items() if name in defined or _is_code_of(module, was)}
    own = {id(was): now for name, (was, now) in pairs.items() if name in ours and callable(was)}
    others = [each for each in own_modules.all() if each is not module]
    for holder in (namespace, *map(vars, others)):
        for name, value in list(holder.items()):
            if id(value) in own:
                holder[name] = own[id(value)]
    for other in others:  # a number has no __module__: importers are found in the source
        for source, name, here in _imports(other):
            if source == module.__name__ and name in pairs and vars(other).get(here) is pairs[name][0]:
                vars(other)[here] = pairs[name][1]
    for before, after in pairs.values():
        if id(before) in own:
            _update(before, after)


def _update(old: Any, new: Any) -> None:
    """Give an old object, which may still be referenced, the code of the new one."""
    if isinstance(old, types.FunctionType) and isinstance(new, types.FunctionType):
        _update_function(old, new)
    elif isinstance(old, (staticmethod, classmethod)) and type(new) is type(old):
        _update(old.__func__, new.__func__)
    elif isinstance(old, functools._lru_cache_wrapper) and type(new) is type(old):
        _update(old.__wrapped__, new.__wrapped__)
        old.cache_clear()
    elif isinstance(old, type) and isinstance(new, type) and not issubclass(old, enum.Enum):
        _update_class(old, new)


def _update_function(old: types.FunctionType, new: types.FunctionType) -> None:
    if old.__code__.co_freevars != new.__code__.co_freevars:
        return  # Python allows no such change: only names are rebound to the new function
    notes = "__annotate__" if sys.version_info >= (3, 14) else "__annotations__"
    for name in ("__code__", "__defaults__", "__kwdefaults__", "__doc__", notes):
        setattr(old, name, getattr(new, name))
    vars(old).update(vars(new))
    for name, cell, other in zip(old.__code__.co_freevars, old.__closure__ or (), new.__closure__ or (), strict=True):
        if name != "__class__":  # super()'s cell: the class that holds the function
            with contextlib.suppress(ValueError):  # still empty
                cell.cell_contents = other.cell_contents


def _update_class(old: type, new: type) -> None:
    """Make its instances and subclasses those of the new class, and update methods, which may be bound already."""
    for name, value in vars(new).items():
        _update(vars(old).get(name), value)
    for each in old.__subclasses__():
        with contextlib.suppress(TypeError):  # another object layout
            each.__bases__ = tuple(new if base is old else base for base in each.__bases__)
    for each in gc.get_referrers(old):
        if type(each) is old:
            with contextlib.suppress(TypeError):
                object.__setattr__(each, "__class__", new)
