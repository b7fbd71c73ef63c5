"""Tokenises texts into windows of token ids and writes them."""

import re
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from data_modules.errors import UserError
from data_modules.features.tokens import TokenWriter
from mmnar_lightning.encoders.text.config import TextConfig
from mmnar_lightning.encoders.text.corpus import digest_text, read_texts
from mmnar_lightning.encoders.text.pretrained import tokenizer_threads
from mmnar_lightning.encoders.vector_store import Keys

KEYS = "keys.npy"
TOGETHER = 64
"""Texts tokenised at once: the tokenizer needs many times the memory of a text."""
Windows = list[list[int]]
WORD = re.compile(r"\w+|[^\w\s]")


class Tokeniser(Protocol):
    """Cuts texts into windows of token ids."""

    def __call__(self, texts: Sequence[str]) -> list[Windows]:
        """The windows of each text, at least one each."""


class PretrainedTokeniser:
    """Windows by a fast tokenizer of `transformers`.

    Args:
        tokenizer: of the model.
        window: tokens of a window, special tokens included.
        overlap: tokens that consecutive windows share.
        max_windows: number of windows of a text that are kept; 0 keeps all.

    Raises:
        UserError: if a window is too short for the overlap.
    """

    def __init__(self, tokenizer: Any, window: int, overlap: int, max_windows: int) -> None:
        self.backend = tokenizer.backend_tokenizer
        self.backend.no_truncation()
        self.backend.no_padding()
        self.before, self.after = self._added()
        self.size = window - len(self.before) - len(self.after)
        self.overlap, self.max_windows = overlap, max_windows
        if self.size <= overlap:
            raise UserError(f"embed.text.window={window} is too short: windows share {overlap} tokens")

    def _added(self) -> tuple[list[int], list[int]]:
        """Special tokens before and after a text."""
        bare = self.backend.encode("a", add_special_tokens=False).ids
        whole = self.backend.encode("a").ids
        place = next(start for start in range(len(whole)) if whole[start : start + len(bare)] == bare)
        return whole[:place], whole[place + len(bare) :]

    def __call__(self, texts: Sequence[str]) -> list[Windows]:
        """The windows of each text."""
        windows: list[Windows] = []
        with tokenizer_threads():
            for start in range(0, len(texts), TOGETHER):
                encoded = self.backend.encode_batch_fast(texts[start : start + TOGETHER], add_special_tokens=False)
                windows.extend(self._windows(entry.ids) for entry in encoded)
        return windows

    def _windows(self, ids: list[int]) -> Windows:
        last = max(1, len(ids) - self.overlap)
        starts = range(0, last, self.size - self.overlap)
        kept = starts[: self.max_windows] if self.max_windows else starts
        return [[*self.before, *ids[start : start + self.size], *self.after] for start in kept]


@dataclass(frozen=True)
class HashedTokeniser:
    """Windows of hashed words and punctuation marks; nothing is fitted.

    Attributes:
        vocabulary: size of the hash table; 0 is padding.
        window: words of a window.
        max_windows: number of windows of a text that are kept; 0 keeps all.
    """

    vocabulary: int
    window: int
    max_windows: int

    def __call__(self, texts: Sequence[str]) -> list[Windows]:
        """The windows of each text.

        Args:
            texts: the texts.

        Returns:
            Windows of token ids per text, at least one each.

        >>> HashedTokeniser(100, 2, 0)(["No edema."])[0]
        [[63, 73], [39]]
        """
        return [self._windows(text) for text in texts]

    def _windows(self, text: str) -> Windows:
        ids = [hash_word(word, self.vocabulary) for word in WORD.findall(text.lower())] or [1]
        windows = [ids[start : start + self.window] for start in range(0, len(ids), self.window)]
        return windows[: self.max_windows] if self.max_windows else windows


@lru_cache(maxsize=1 << 18)
def hash_word(word: str, vocabulary: int) -> int:
    """Hash a word.

    Args:
        word: in lower case.
        vocabulary: size of the hash table.

    Returns:
        In [1, vocabulary).

    >>> 1 <= hash_word("edema", 16) < 16
    True
    """
    return zlib.crc32(word.encode()) % (vocabulary - 1) + 1


def write_tokens(
    source: Path, config: TextConfig, tokenise: Tokeniser, wanted: Collection[bytes], target: Path
) -> None:
    """Write the tokens of the selected documents, once per content, and their keys.

    Args:
        source: the modality's folder in the cohort.
        config: sections to keep.
        tokenise: cuts texts into windows.
        wanted: digests of contents.
        target: an existing folder.
    """
    left = set(wanted)
    written: list[bytes] = []
    with TokenWriter(target) as writer:
        for texts in read_texts(source, config.sections):
            fresh = {digest_text(text): text for text in texts if text}
            chosen = {key: text for key, text in fresh.items() if key in left}
            if not chosen:
                continue
            for windows in tokenise(list(chosen.values())):
                writer.add(windows)
            written.extend(chosen)
            left.difference_update(chosen)
    keys: Keys = np.array(written, dtype="S32")
    np.save(target / KEYS, keys)
