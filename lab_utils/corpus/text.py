"""Load the text: a frozen one that is the same on every machine, or the user's own."""

from __future__ import annotations

import re
import unicodedata
from os import PathLike
from pathlib import Path

# The topics of Python 3.11.7's documentation. Frozen, as the standard library's copy differs between patch
# releases and the notebooks' outputs are compared to the letter. Licence: PYTHON_LICENSE.txt.
FROZEN = Path(__file__).with_name("python_topics.txt")

TEXT_SUFFIXES = frozenset(
    ".c .cc .cfg .cpp .css .csv .go .h .hpp .htm .html .ini .java .jl .js .json .jsonl .log .lua .md .py "
    ".r .rb .rs .rst .scala .sh .sql .srt .swift .tex .text .toml .ts .tsv .txt .vtt .xml .yaml .yml".split()
)


class CorpusError(ValueError):
    """The text cannot be read; the message names the file and the reason."""


def load(path: str | PathLike[str] | None = None) -> str:
    """Return the text of a file or folder unchanged: UTF-8, with newlines as "\\n".

    >>> load()                # Python's own documentation, 465,126 characters, in this repository
    >>> load("novel.txt")     # one file, whatever its suffix
    >>> load("~/notes")       # every text file below a folder, in order of their paths

    In a folder, text files are those with one of TEXT_SUFFIXES that are not hidden; a blank line joins them.
    CorpusError when a file or folder is missing, has no text, or does not decode.
    """
    path = FROZEN if path is None else Path(path).expanduser()
    if not path.is_dir():
        return _read(path)
    files = _text_files(path)
    if not files:
        raise CorpusError(f"No text file below {path}: its name must end in {' '.join(sorted(TEXT_SUFFIXES))}.")
    return "\n\n".join(_read(file) for file in files)


def clean(text: str) -> str:
    """Normalise: Unicode NFC, "\\n" newlines, no blanks at line ends, at most one blank line in a row.

    Step 1 of the seven training phases. Idempotent.
    """
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = re.sub(r"[^\S\n]+$", "", text, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n") + "\n"


def _text_files(folder: Path) -> list[Path]:
    """Text files below a folder, sorted by path parts for the same order on every system."""

    def wanted(file: Path) -> bool:
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        return file.is_file() and file.suffix.lower() in TEXT_SUFFIXES and not hidden

    return sorted(filter(wanted, folder.rglob("*")), key=lambda file: file.relative_to(folder).parts)


def _read(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        found = error.object[error.start]
        raise CorpusError(
            f"{file} is not UTF-8 text: byte {found:#04x} at position {error.start:,} ({error.reason}); "
            f"save it as UTF-8 or leave it out."
        ) from error
    except OSError as error:
        raise CorpusError(f"{file} cannot be read: {error.strerror}.") from error
    if not text.strip():
        raise CorpusError(f"{file} is empty: there is nothing to learn from it.")
    return text
