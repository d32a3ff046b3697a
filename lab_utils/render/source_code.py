"""Show source code in notebooks, read from its file: no module is imported, so neither is torch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent

DEFINITIONS = (ast.FunctionDef, ast.ClassDef)


class Source:
    """Functions of a module as notebook output, in Markdown so that JupyterLab and GitHub highlight it.

    The class is JupyterLab's for plain text: nbconvert's styles make code in Markdown output proportional without it.
    """

    def __init__(self, module: str, *names: str):
        self.text = "\n\n\n".join(_find(module, names))

    def _repr_markdown_(self) -> str:
        return f'<div class="jp-RenderedText">\n\n```python\n{self.text}\n```\n\n</div>'

    def __repr__(self) -> str:
        return self.text


def source(module: str, *names: str) -> Source:
    """Return functions, classes, methods or tables of a module by name: source("lab_utils.gpt", "GPT").

    A method is named with its class, "Buckets._fill". Without names, returns all functions and classes. ValueError for
    a name that the module does not have.
    """
    return Source(module, *names)


def _find(module: str, names: tuple[str, ...]) -> list[str]:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ValueError(f"there is no module {module}")
    text = Path(spec.origin).read_text(encoding="utf-8")
    nodes = dict(_named(ast.parse(text)))
    own = [name for name, node in nodes.items() if isinstance(node, DEFINITIONS) and "." not in name]
    missing = [name for name in names if name not in nodes]
    if missing:
        raise ValueError(f"{module} has no {', '.join(missing)}; it has {', '.join(own)}")
    return [_text(text, nodes[name]) for name in names or own]


def _named(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """Yield the top-level definitions and assignments by name, and the methods of classes."""
    for node in tree.body:
        if isinstance(node, DEFINITIONS):
            yield node.name, node
            inside = node.body if isinstance(node, ast.ClassDef) else []
            yield from ((f"{node.name}.{each.name}", each) for each in inside if isinstance(each, DEFINITIONS))
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    yield target.id, node


def _text(text: str, node: ast.stmt) -> str:
    """Return its source without decorators, dedented."""
    return dedent(" " * node.col_offset + ast.get_source_segment(text, node))
