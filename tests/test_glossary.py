"""The chapters translate each term once, at its first use, as the glossary has it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

LABS = Path(__file__).parents[1] / "labs"
CHINESE = re.compile(r"[\u4e00-\u9fff]+(?:SGD)?|本地SGD")
NO_PROSE = re.compile(  # code, addresses, headings, and the line on the next chapter
    r"```(?!mermaid).*?```|`[^`]*`|\]\([^)]*\)|^#[^\n]*|^\**Next\b.*?(?:\n\n|\Z)", re.DOTALL | re.MULTILINE
)


def rows(text: str) -> dict[str, str]:
    """Return term → Chinese, from a glossary's tables. ValueError for a term or a translation that is there twice."""
    pairs = [
        tuple(cell.strip() for cell in line.split("|")[1:3])
        for line in text.splitlines()
        if line.startswith("|") and not re.match(r"\| (term|---)|\|---", line)
    ]
    terms, translations = dict(pairs), {chinese for _, chinese in pairs}
    if not len(pairs) == len(terms) == len(translations):
        raise ValueError(f"{len(pairs)} rows, {len(terms)} terms, {len(translations)} translations")
    return terms


def paragraphs() -> Iterator[tuple[str, str]]:
    """Yield (notebook, text) of each markdown cell, in the order of the course, without code, links and headings."""
    for path in sorted(LABS.glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "markdown":
                yield path.stem, NO_PROSE.sub(" ", "".join(cell["source"]))


def uses(term: str, text: str) -> bool:
    """Whether a text uses a term, in the plural or with a space or a line's end for its hyphen too."""
    words = r"[\s-]+".join(map(re.escape, re.split(r"[\s-]", term)))
    case = re.IGNORECASE if term.islower() else re.NOFLAG
    return re.search(rf"(?<![\w-]){words}(?:s|es|d|ed)?(?![\w-])", text, case) is not None


TEXT = (LABS / "glossary.md").read_text(encoding="utf-8")
GLOSSARY, EVERYDAY = rows(TEXT), rows(TEXT.partition("## Everyday words")[2])
TEXTS = list(paragraphs())


@pytest.mark.parametrize("term", [term for term in GLOSSARY if term not in EVERYDAY])
def test_the_first_chapter_that_uses_a_term_translates_it(term: str) -> None:
    chapter = next((notebook for notebook, text in TEXTS if uses(term, text)), None)
    assert chapter is not None, f"no chapter uses {term!r}: take it out of labs/glossary.md"
    translated = [text for notebook, text in TEXTS if notebook == chapter and GLOSSARY[term] in text]
    assert translated, f"{chapter} is the first to use {term!r}, and does not say {GLOSSARY[term]}"
    assert any(uses(term, text) for text in translated), (
        f"{chapter} says {GLOSSARY[term]} where it does not speak of {term!r}"
    )


@pytest.mark.parametrize("term", EVERYDAY)
def test_an_everyday_word_is_translated_where_it_is_a_term(term: str) -> None:
    assert any(uses(term, text) for _, text in TEXTS if GLOSSARY[term] in text)


def test_every_translation_is_in_the_glossary() -> None:
    known = set(GLOSSARY.values())
    others = {(notebook, word) for notebook, text in TEXTS for word in CHINESE.findall(text) if word not in known}
    assert not others


def test_a_doubled_row_is_found() -> None:
    assert rows("| term | 中文 |\n|---|---|\n| rank | 秩 |") == {"rank": "秩"}
    with pytest.raises(ValueError, match="2 rows, 2 terms, 1 translations"):
        rows("| rank | 秩 |\n| process | 秩 |")


def test_uses_are_plurals_too_and_no_parts_of_words() -> None:
    assert uses("ring", "Rings.") and uses("all-reduce", "Two all-\nreduces.")
    assert not uses("ring", "Cringes and ring-buffers.")
