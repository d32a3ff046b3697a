"""The corpus: real text, read or refused in one sentence, and tokens that round-trip exactly."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import unicodedata
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_utils.corpus import BPE, ByteTokens, CorpusError, clean, load

TRAINED = BPE.train(clean(load()), vocabulary=512)


# ---- text


def trigrams(text: str) -> set[tuple[str, ...]]:
    words = text.replace("`", '"').split()  # Python releases differ in line breaks and quotation marks
    return set(zip(words, words[1:], words[2:], strict=False))


def test_the_frozen_text_is_pythons_documentation():
    frozen = trigrams(load())
    shares = [len(own & frozen) / len(own) for own in map(trigrams, topics.values()) if own]
    assert len(shares) > 60
    assert sum(share > 0.5 for share in shares) > 0.9 * len(shares)


def test_the_frozen_text_is_the_same_everywhere():
    digest = hashlib.sha256(load().encode()).hexdigest()
    assert digest == "71f2ff5d99bdc1f9c48c5c2353ad138201c5ca1c377e0226857ef8fa89b8bcee"


def test_a_file_is_read_whatever_its_suffix(tmp_path: Path):
    file = tmp_path / "novel"
    file.write_bytes("Märchen\r\nEnde".encode())
    assert load(file) == "Märchen\nEnde"


def test_a_folder_is_read_in_order_and_hidden_and_binary_files_are_left_out(tmp_path: Path):
    for name, text in {"b.txt": "B", "a/z.md": "AZ", "a.py": "A", ".git/c.txt": "no", ".d.txt": "no"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff")
    assert load(tmp_path) == "AZ\n\nA\n\nB"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("latin.txt", "Köln".encode("latin-1"), r"latin\.txt is not UTF-8 text: byte 0xf6 at position 1"),
        ("empty.txt", b" \n", r"empty\.txt is empty"),
        ("absent.txt", None, r"absent\.txt cannot be read: No such file"),
    ],
)
def test_an_unreadable_corpus_is_one_sentence_with_file_and_reason(tmp_path, name, content, reason):
    if content is not None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CorpusError, match=reason):
            load(tmp_path)
    with pytest.raises(CorpusError, match=reason) as caught:
        load(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_folder_without_text_says_what_it_looked_for(tmp_path: Path):
    with pytest.raises(CorpusError, match=r"No text file below .*\.txt"):
        load(tmp_path)


def test_clean_normalises():
    assert clean("\r\n e\u0301  \rb\t\n\n \n\nc \u00a0") == " é\nb\n\nc\n"


@given(st.text(alphabet=st.sampled_from("ab e\u0301 \t\r\n\x0b\x0c\u2028\u00a0"), max_size=40) | st.text())
def test_cleaning_twice_changes_nothing_more(text):
    once = clean(text)
    assert clean(once) == once
    assert "\r" not in once and " \n" not in once and "\n\n\n" not in once


@given(st.text())
def test_cleaning_keeps_every_letter(text):
    assert clean(text).split() == unicodedata.normalize("NFC", text).split()


# ---- tokens


@pytest.mark.parametrize("tokens", [ByteTokens(), TRAINED], ids=["bytes", "bpe"])
@given(text=st.text())
def test_any_text_round_trips(tokens, text):
    ids = tokens.encode(text)
    assert ids.dtype == np.int64
    assert tokens.decode(ids) == text
    assert ((ids >= 0) & (ids < tokens.vocabulary)).all()


def test_bpe_packs_more_text_into_a_token_than_bytes():
    text = load()
    assert TRAINED.vocabulary == 512
    assert len(TRAINED.encode(text)) < 0.6 * len(ByteTokens().encode(text))


def test_every_id_decodes():
    for tokens in (ByteTokens(), TRAINED):
        assert isinstance(tokens.decode(np.arange(tokens.vocabulary)), str)


def test_bpe_is_the_same_in_every_process_and_forks_in_silence():
    code = (
        "import hashlib, os; from lab_utils.corpus import BPE, clean, load;"
        "text = clean(load()); bpe = BPE.train(text); bpe.encode(text); merges = bpe.tokenizer.to_str();"
        "pid = os.fork() if hasattr(os, 'fork') else 1;"
        "pid or os._exit(0);"
        "hasattr(os, 'fork') and os.waitpid(pid, 0);"
        "print(hashlib.sha256(merges.encode()).hexdigest(), end='')"
    )
    salted = os.environ | {"PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True, env=salted)
    assert done.stderr == ""
    assert done.stdout == hashlib.sha256(TRAINED.tokenizer.to_str().encode()).hexdigest()


@pytest.mark.parametrize("tokens", [ByteTokens(), TRAINED], ids=["bytes", "bpe"])
@pytest.mark.parametrize("strange", [-1, 512])
def test_an_id_of_another_tokenizer_is_refused(tokens, strange):
    with pytest.raises(ValueError, match=f"Token {strange} is not in a vocabulary of {tokens.vocabulary}"):
        tokens.decode(np.array([65, strange]))


def test_bpe_needs_room_for_all_bytes():
    with pytest.raises(ValueError, match="vocabulary=255 cannot hold the 256 bytes"):
        BPE.train("text", vocabulary=255)


def test_the_corpus_needs_no_torch():
    code = "import sys, lab_utils.corpus; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
