"""The rules of test_hygiene.py: each takes a file's content and yields one sentence for each thing wrong."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Container, Iterable, Iterator
from typing import Any

# Rooms from top to bottom: a file imports from its own room and from those below it (DESIGN.md, "Rooms").
# "lab_utils" is the package's own face, for people: rooms name each other instead.
ROOMS = (
    "__main__ soak bench record lab_utils exercises widgets ranks strategies comm render planner schedule timeline "
    "corpus gpt host text lazy"
).split()
LIVE = "application/vnd.jupyter.widget-view+json"
PURE_ROOMS = {"render", "planner", "schedule", "timeline", "corpus"}
# In these rooms only what runs on the ranks needs torch, in files with that name: the notebook's kernel has the rest.
ON_RANKS = {"widgets": "probe", "exercises": "on_ranks"}
HEAVY = {"torch", "ipyparallel", "ipywidgets", "anywidget"}

MOST_FILE_LINES = 400
MOST_FOLDER_FILES = 12  # besides __init__.py
MOST_FUNCTION_LINES = 60
MOST_CELLS = 90
MOST_CELL_LINES = 12
MOST_MEDIAN_LINES = 4
MOST_BYTES = 500_000
ALLOWED_TAGS = {"nbval-ignore-output", "raises-exception"}
REASONS = {"timings", "memory"}  # what a cell may differ in from run to run, so that its output is not compared
OWN_PATHS = re.compile(r"/root/|/home/\w|/Users/\w|/tmp/\w|C:\\Users")

Notebook = dict[str, Any]


def source_of(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def code_cells(notebook: Notebook) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def cell_lengths(notebook: Notebook) -> list[int]:
    """Lines of each code cell, blank ones left out."""
    return [sum(bool(line.strip()) for line in source_of(cell).splitlines()) for cell in code_cells(notebook)]


def notebook_complaints(notebook: Notebook) -> Iterator[str]:
    """Counts, lengths and stored outputs of a whole notebook, then of each of its code cells."""
    cells = code_cells(notebook)
    if len(notebook["cells"]) > MOST_CELLS:
        yield f"has {len(notebook['cells'])} cells, at most {MOST_CELLS} are wanted"
    counts = [cell["execution_count"] for cell in cells]
    if counts != list(range(1, len(cells) + 1)):
        yield f"execution counts are {counts}, not 1..{len(cells)}: restart the kernel, run all, save"
    if not any(cell["outputs"] for cell in cells):
        yield "no outputs are stored, so nbval compares nothing"
    median = statistics.median(cell_lengths(notebook) or [0])
    if median > MOST_MEDIAN_LINES:
        yield f"the median code cell has {median:g} lines, at most {MOST_MEDIAN_LINES} are wanted"
    for number, (cell, length) in enumerate(zip(cells, cell_lengths(notebook), strict=True), start=1):
        if length > MOST_CELL_LINES:
            yield f"code cell {number} has {length} lines, at most {MOST_CELL_LINES} are wanted"
        for complaint in cell_complaints(cell):
            yield f"code cell {number}: {complaint}"


def cell_complaints(cell: dict[str, Any]) -> Iterator[str]:
    tags = set(cell["metadata"].get("tags", ()))
    why = cell["metadata"].get("lab", {}).get("why_ignored")
    if tags - ALLOWED_TAGS:
        yield f"unknown tags {sorted(tags - ALLOWED_TAGS)}"
    if ("nbval-ignore-output" in tags) != (why in REASONS):
        yield f"nbval-ignore-output and lab.why_ignored (one of {sorted(REASONS)}) go together, found {why!r}"
    raised = any(output["output_type"] == "error" for output in cell["outputs"])
    if raised != ("raises-exception" in tags):
        yield "a stored error and the tag raises-exception go together"
    if prints(source_of(cell)) and not cell["outputs"]:
        yield "prints, but no output is stored"
    if any(LIVE in output.get("data", {}) for output in cell["outputs"]):
        yield "a widget is stored, whose model went with its kernel: readers are to get its picture, or its words"
    if path := OWN_PATHS.search(str(cell["outputs"])):
        yield f"an output names {path[0]}…, a path of the author's machine"


def prints(source: str) -> bool:
    """Whether a cell calls print outside any function or condition, so that it must have an output."""
    return re.search(r"^print\(", source, re.MULTILINE) is not None


def ranks_program(notebook: Notebook) -> str:
    """What the ranks run, in order: the %%ranks cells, which ruff skips whole, without their magic line."""
    sources = [source_of(cell) for cell in code_cells(notebook)]
    return "\n".join(source.partition("\n")[2] for source in sources if source.startswith("%%ranks")) + "\n"


def functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Name and length of each function, its docstring left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documented = ast.get_docstring(node, clean=False) is not None
            first = node.body[0]
            docstring = first.end_lineno - first.lineno + 1 if documented else 0
            yield node.name, node.end_lineno - node.lineno + 1 - docstring


def code_complaints(text: str) -> Iterator[str]:
    """Length of a Python file and of its functions, and exceptions that it swallows."""
    lines = len(text.splitlines())
    if lines > MOST_FILE_LINES:
        yield f"has {lines} lines, at most {MOST_FILE_LINES} are wanted"
    tree = ast.parse(text)
    for name, length in functions(tree):
        if length > MOST_FUNCTION_LINES:
            yield f"{name} has {length} lines, at most {MOST_FUNCTION_LINES} are wanted"
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and all(_does_nothing(statement) for statement in node.body):
            yield f"line {node.lineno} swallows an exception without a word"
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield f"line {node.lineno} catches everything, even an interrupt"


# Of these a catalogue's values are made: strings, tables of them, names of others, long ones joined.
WORDS_ALONE = (
    ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.Name, ast.Attribute, ast.Subscript, ast.BinOp, ast.Add,
    ast.expr_context,
)  # fmt: skip


def catalogue_complaints(text: str) -> Iterator[str]:
    """What a catalogue, a words*.py, holds besides imports, strings and classes of strings."""
    return _not_words(ast.parse(text).body)


def _not_words(body: Iterable[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _not_words(node.body)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr):
            parts = ast.walk(node.value)
            yield from (_no_word(part) for part in parts if not isinstance(part, WORDS_ALONE))
        elif not isinstance(node, ast.Import | ast.ImportFrom | ast.Pass):
            yield _no_word(node)


def _no_word(node: ast.stmt | ast.expr) -> str:
    return f"line {node.lineno} is logic ({type(node).__name__}): a catalogue holds words, sentences.py chooses"


def sentence_complaints(text: str) -> Iterator[str]:
    """Sentences of errors that a widget's file writes itself, instead of taking them from its catalogue."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            for said in node.exc.args:
                if isinstance(said, ast.JoinedStr) or isinstance(getattr(said, "value", None), str):
                    yield f"line {node.lineno} says itself what it refuses: an error's sentence stands in words.py"


def encoding_complaints(text: str) -> Iterator[str]:
    """Text that is read or written in whatever encoding the machine's locale has."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and _opens_text(node) and all(word.arg != "encoding" for word in node.keywords):
            yield f'line {node.lineno} opens text without an encoding: encoding="utf-8"'


def _opens_text(call: ast.Call) -> bool:
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    owner = getattr(getattr(call.func, "value", None), "id", "")
    words = {word.arg: getattr(word.value, "value", None) for word in call.keywords}
    if name in ("read_text", "write_text") or words.get("text") is True:
        return True
    given = [words.get("mode"), *(getattr(argument, "value", None) for argument in call.args)]
    mode = next((each for each in given if re.fullmatch(r"[rwxabt+]+", str(each))), None)
    if name in ("TemporaryFile", "NamedTemporaryFile", "fdopen"):
        return mode is not None and "b" not in mode
    return name == "open" and owner not in ("os", "self") and "b" not in (mode or "r")


def _does_nothing(statement: ast.stmt) -> bool:
    constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Pass) or constant


def imported(tree: ast.Module, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of every import, those inside functions and relative ones included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{name.name}") for name in node.names)


def room_of(dotted: str) -> str | None:
    """The room that a dotted name lies in; None outside lab_utils."""
    first, _, rest = dotted.partition(".")
    if first != "lab_utils":
        return None
    inside = rest.partition(".")[0]
    return inside if inside in ROOMS else "lab_utils"


def import_complaints(text: str, module: str, is_package: bool) -> Iterator[str]:
    """Imports of `module` (dotted) that point up the list of rooms, or that its room may not have."""
    parts = tuple(module.split("."))
    own = room_of(module)
    if len(parts) > 1 and parts[1] not in ROOMS:
        yield f"{parts[1]} is not a room of DESIGN.md"
        return
    for line, name in imported(ast.parse(text), parts if is_package else parts[:-1]):
        yield from (f"line {line}: {complaint}" for complaint in _one_import(own, name))
        if own in ON_RANKS and name.partition(".")[0] == "torch" and not parts[-1].startswith(ON_RANKS[own]):
            yield f"line {line}: of {own} only {ON_RANKS[own]}*.py imports torch"


def _one_import(own: str, name: str) -> Iterable[str]:
    top, room = name.partition(".")[0], room_of(name)
    if top == "ipyparallel" and own != "ranks":
        yield "only ranks imports ipyparallel"
    if own in PURE_ROOMS and top in HEAVY:
        yield f"{own} is pure and imports {top}"
    if room is None or room == own:
        return
    if ROOMS.index(room) < ROOMS.index(own):
        yield f"{own} imports {room}, which stands above it"
    if own in PURE_ROOMS and room == "gpt":
        yield f"{own} is pure and imports gpt, which needs torch"


def circles(texts: dict[str, str], packages: set[str]) -> list[list[str]]:
    """Modules that import each other in a circle, each circle in order; late and type-checking imports count.

    texts     {dotted name: text} of every module
    packages  those that are an __init__.py
    """
    graph = {name: _imports_of(name, text, name in packages, texts) for name, text in texts.items()}
    found: list[list[str]] = []
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> None:
        if name in path:
            found.append(path[path.index(name) :])
        elif name not in done:
            for other in sorted(graph[name]):
                walk(other, [*path, name])
            done.add(name)

    for name in sorted(graph):
        walk(name, [])
    return found


def _imports_of(name: str, text: str, is_package: bool, known: Container[str]) -> set[str]:
    """The modules among `known` that it imports: of `from a.b import c` it is a.b.c where there is one, else a.b."""
    parts = tuple(name.split("."))
    found = set()
    for _, dotted in imported(ast.parse(text), parts if is_package else parts[:-1]):
        module = dotted if dotted in known else dotted.rpartition(".")[0]
        if module in known:
            found.add(module)
    return found - {name}
