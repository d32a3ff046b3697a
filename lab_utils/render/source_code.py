"""Source code shown where it is the lesson, read from its file: nothing is imported, so torch is not either."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path


class Source:
    """Functions of a module as a notebook's output, as Markdown so that JupyterLab and GitHub both colour it."""

    def __init__(self, module: str, *names: str):
        self.text = "\n\n\n".join(_find(module, names))

    def _repr_markdown_(self) -> str:
        return f"```python\n{self.text}\n```"

    def __repr__(self) -> str:
        return self.text


def source(module: str, *names: str) -> Source:
    """The named functions or classes of a module, such as source("lab_utils.comm.ring", "ring_all_reduce")."""
    return Source(module, *names)


def _find(module: str, names: tuple[str, ...]) -> list[str]:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ValueError(f"there is no module {module}")
    text = Path(spec.origin).read_text(encoding="utf-8")
    nodes = {node.name: node for node in ast.parse(text).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    missing = [name for name in names if name not in nodes]
    if missing:
        raise ValueError(f"{module} has no {', '.join(missing)}; it has {', '.join(nodes)}")
    return [ast.get_source_segment(text, nodes[name]) for name in names or nodes]
