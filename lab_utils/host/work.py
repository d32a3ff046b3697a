"""`python -m lab_utils work`: the copies of chapters that a reader works in, and what changed in labs/ since.

A copy is made once and never overwritten. Its metadata hold a checksum of each of the chapter's cells as they were,
so that changes of the chapter are told from the reader's own.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

CHAPTERS, WORK = Path("labs"), Path("work")
SHOWN = 70  # characters of a cell's first line

Notebook = dict[str, Any]


def copy_missing(chapters: Path = CHAPTERS, work: Path = WORK) -> list[Path]:
    """Copy the chapters that `work` lacks; return the new copies, signed."""
    work.mkdir(exist_ok=True)
    made = [_copy(path, work) for path in sorted(chapters.glob("*.ipynb")) if not (work / path.name).exists()]
    trust(sorted({*made, *_as_in(chapters, work)}))  # of others, those that were made under another HOME
    return made


def _as_in(chapters: Path, work: Path) -> Iterator[Path]:
    """Yield the copies whose cells are the chapter's, outputs included: no other may be trusted unseen."""
    for path in sorted(chapters.glob("*.ipynb")):
        try:
            cells = [json.loads((room / path.name).read_text(encoding="utf-8"))["cells"] for room in (chapters, work)]
        except (OSError, ValueError, LookupError, TypeError):  # it is told where it is opened
            continue
        if cells[0] == cells[1]:
            yield work / path.name


def _copy(chapter: Path, work: Path) -> Path:
    """Copy one chapter whole or not at all; one that cannot be read is copied as it is."""
    text = chapter.read_text(encoding="utf-8")
    try:
        notebook = json.loads(text)
        notebook["metadata"] |= _kernel()
        notebook["metadata"].setdefault("lab", {})["copied"] = _record(notebook)
        text = json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    except (ValueError, LookupError, TypeError) as error:
        print(f"{chapter} cannot be read ({error}): it is copied as it is.", file=sys.stderr)
    copy, half = work / chapter.name, work / f".{chapter.name}.{os.getpid()}"
    half.write_text(text, encoding="utf-8")
    return half.rename(copy)


def _kernel() -> dict[str, Any]:
    """Return what JupyterLab writes into a notebook that it opens: it would call one without it unsaved."""
    from ipykernel.ipkernel import IPythonKernel
    from ipykernel.kernelspec import get_kernel_dict

    spec = {"name": "python3", **{name: get_kernel_dict()[name] for name in ("display_name", "language")}}
    return {"kernelspec": spec, "language_info": IPythonKernel.language_info}


def _record(notebook: Notebook) -> dict[str, Any]:
    cells = {cell["id"]: _checksum(cell) for cell in notebook["cells"]}
    return {"on": datetime.date.today().isoformat(), "cells": cells}


def _source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def _checksum(cell: dict[str, Any]) -> str:
    return hashlib.sha256(_source(cell).encode()).hexdigest()[:12]


def trust(paths: Iterable[Path]) -> None:
    """Sign notebooks: JupyterLab shows only the text outputs of those that it does not trust.

    Pictures of the chapters are as much the lab's own as the code that is about to run.
    """
    import nbformat
    from nbformat.sign import NotebookNotary

    notary = NotebookNotary()
    for path in paths:
        try:
            notary.sign(nbformat.read(path, as_version=4))
        except (ValueError, nbformat.ValidationError) as error:  # JupyterLab reports the same when it opens the file
            print(f"{path} cannot be read ({error}): its stored pictures will not be shown.", file=sys.stderr)


def changes(chapter: Notebook, copy: Notebook) -> list[str]:
    """Return a line for each cell of the chapter that changed since it was copied, and that the copy has not got."""
    then = copy["metadata"]["lab"]["copied"]["cells"]
    now, own = ({cell["id"]: cell for cell in notebook["cells"] if "id" in cell} for notebook in (chapter, copy))
    lines = []
    for name, cell in now.items():
        taken = name in own and _source(own[name]) == _source(cell)
        if not taken and then.get(name) != _checksum(cell):
            lines.append(_line("changed" if name in then else "new", cell))
    return lines + [_line("removed", own[name]) for name in then if name not in now and name in own]


def _line(what: str, cell: dict[str, Any]) -> str:
    first = next((line for line in _source(cell).splitlines() if line.strip()), "")
    text = first if len(first) <= SHOWN else f"{first[: SHOWN - 1]}…"
    return f"{what:8} {cell['cell_type']:8} {cell['id']:5} {text}"


def report(chapters: Path = CHAPTERS, work: Path = WORK) -> Iterator[tuple[str, list[str]]]:
    """Yield (chapter's name, what changed in it since it was copied) of each chapter that has a copy.

    A copy that was made by hand does not say of when it is, and is left out.
    """
    for path in sorted(chapters.glob("*.ipynb")):
        if (work / path.name).exists():
            try:
                chapter, copy = (json.loads(each.read_text(encoding="utf-8")) for each in (path, work / path.name))
                if not _by_hand(copy):
                    yield path.stem, changes(chapter, copy)
            except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
                yield path.stem, [f"cannot be compared: {type(error).__name__} {error}"]


def by_hand(chapters: Path = CHAPTERS, work: Path = WORK) -> list[str]:
    """Return the names of chapters whose copy was made by hand."""
    names = []
    for path in sorted(chapters.glob("*.ipynb")):
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):  # `report` tells of it
            if _by_hand(json.loads((work / path.name).read_text(encoding="utf-8"))):
                names.append(path.stem)
    return names


def _by_hand(copy: Notebook) -> bool:
    return "copied" not in copy["metadata"].get("lab", {})


def fresh(name: str, chapters: Path = CHAPTERS, work: Path = WORK) -> Path | None:
    """Rename the copy of this chapter, by today's date, and make a new one; return where the old one is now, if any."""
    copy, kept = work / f"{name}.ipynb", None
    if copy.exists():
        dated = [f"{name}.{datetime.date.today()}{again}.ipynb" for again in ["", *(f"-{n}" for n in range(2, 100))]]
        kept = copy.rename(next(work / each for each in dated if not (work / each).exists()))
    work.mkdir(exist_ok=True)
    trust([_copy(chapters / copy.name, work)])
    return kept


def not_here(chapters: Path = CHAPTERS) -> str:
    """Return why there is nothing to copy or open in the working directory; "" where there is."""
    first = chapters / "00_ranks.ipynb"
    return "" if first.is_file() else f"{first} is not here: run this in the folder of the repository."


def main(argv: Sequence[str]) -> int:
    """Copy what is missing, say what changed, and renew what is asked for; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m lab_utils work",
        description="Copy the chapters that work/ lacks, and list what changed in labs/ since the others were copied.",
    )
    parser.add_argument(
        "--fresh", nargs="+", default=[], metavar="CHAPTER", help="keep these copies under a dated name, make new ones"
    )
    asked = [Path(name).name.removesuffix(".ipynb") for name in parser.parse_args(argv).fresh]
    if sentence := not_here():
        print(sentence, file=sys.stderr)
        return 2
    known = [path.stem for path in sorted(CHAPTERS.glob("*.ipynb"))]
    if unknown := [name for name in asked if name not in known]:
        print(f"No chapter is called {', '.join(unknown)}: there are {', '.join(known)}.", file=sys.stderr)
        return 2
    try:
        for name in asked:
            kept = fresh(name)
            print(f"{WORK / name}.ipynb is new" + (f", yours is {kept}" if kept else ""))
        for path in copy_missing():
            print(f"{path} is new")
    except OSError as error:
        print(f"{WORK}/ cannot be written: {error.strerror}.", file=sys.stderr)
        return 1
    reported = list(report())
    for name, lines in reported:
        if lines:
            print(f"{WORK / name}.ipynb, changed in labs/ since you copied it:", *lines, sep="\n  ")
    for name in by_hand():
        print(
            f"{WORK / name}.ipynb was copied by hand: what changed since is not known. --fresh {name} makes a new one."
        )
    if same := sum(not lines for _, lines in reported):
        print(f"{same} of {len(reported)} copies hold all that labs/ has.")
    return 0
