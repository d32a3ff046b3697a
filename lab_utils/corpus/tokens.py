"""Tokenizers: text -> ids [n], 0 to vocabulary - 1, and back. Both are byte-level: any text round-trips exactly.

Decoded bytes that are not UTF-8 (as an untrained model writes) become U+FFFD. ValueError for an id outside the
vocabulary.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

BYTES = 256


class ByteTokens:
    """Ids are the bytes of the text's UTF-8 encoding: no training, vocabulary 256."""

    vocabulary = BYTES

    def encode(self, text: str) -> NDArray[np.int64]:
        return np.frombuffer(text.encode(), np.uint8).astype(np.int64)

    def decode(self, ids: NDArray[np.int64]) -> str:
        return bytes(_known(ids, self.vocabulary)).decode(errors="replace")


class BPE:
    """Byte-pair encoding on bytes: start from the 256 bytes and repeatedly merge the most frequent pair.

    Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units" (arXiv 1508.07909),
    section 3.2; on bytes as in GPT-2 (Radford et al. 2019, section 2.2).

    >>> bpe = BPE.train(text, vocabulary=512)   # the same text gives the same merges, on any machine
    >>> bpe.decode(bpe.encode("naïve")) == "naïve"
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.vocabulary = tokenizer.get_vocab_size()

    @classmethod
    def train(cls, text: str, vocabulary: int = 512) -> BPE:
        """Merge until there are `vocabulary` tokens, or fewer if the text has no pair left to merge."""
        if vocabulary < BYTES:
            raise ValueError(f"vocabulary={vocabulary} cannot hold the {BYTES} bytes that the merges start from.")
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        )
        with _one_thread():
            tokenizer.train_from_iterator([text], trainer)
        return cls(tokenizer)

    def encode(self, text: str) -> NDArray[np.int64]:
        return np.array(self.tokenizer.encode(text).ids, dtype=np.int64)

    def decode(self, ids: NDArray[np.int64]) -> str:
        return self.tokenizer.decode(_known(ids, self.vocabulary))


def _known(ids: NDArray[np.int64], vocabulary: int) -> list[int]:
    """Return the ids as a list; ValueError for one outside the vocabulary, which the library would drop."""
    ids = np.asarray(ids)
    strange = ids[(ids < 0) | (ids >= vocabulary)]
    if strange.size:
        raise ValueError(f"Token {strange[0]} is not in a vocabulary of {vocabulary}: use the tokenizer that made it.")
    return ids.tolist()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Train without the library's thread pool: it prints a warning on stderr if the process forks later."""
    name, before = "TOKENIZERS_PARALLELISM", os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
