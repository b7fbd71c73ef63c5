"""Texts as tokens, for an encoder trained with the model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from data_modules import stage
from data_modules.loading.items import STORE, RowItems
from mmnar_lightning.encoders.text.config import TextConfig
from mmnar_lightning.encoders.text.corpus import read_corpus
from mmnar_lightning.encoders.text.tokens import KEYS, Tokeniser, write_tokens
from mmnar_lightning.encoders.vector_store import Keys

TRAINED_VERSION = 1


@dataclass(frozen=True)
class TrainedText:
    """Writes the tokens of documents once, so that loaders need no texts and no tokenizer.

    Attributes:
        config: windows and sections.
        identity: plain values that, with the documents, determine the tokens.
        width: width of the encoder's output.
        open: loads the tokeniser.
    """

    config: TextConfig
    identity: dict[str, Any]
    width: int
    open: Callable[[], Tokeniser]

    def contents(self, source: Path) -> None:
        """Nothing outside of the cohort."""

    def prepare(self, source: Path) -> None:
        """No work: tokenising uses all cores already."""

    def write(self, source: Path, rows: pl.DataFrame, target: Path) -> list[str]:
        """Write the token table, the documents of each row and the width."""
        corpus = read_corpus(source, self.config.sections)
        write_tokens(source, self.config, self.open(), set(corpus.key.tolist()), target)
        written: Keys = np.load(target / KEYS)
        (target / KEYS).unlink()
        order = np.argsort(written)
        item = order[np.searchsorted(written[order], corpus.key)]
        RowItems.save(target, rows.height, corpus.row, item.astype(np.int64))
        stage.write_json(target / STORE, {"width": self.width})
        return corpus.left_out


def trained_identity(config: TextConfig, tokenizer: dict[str, Any]) -> dict[str, Any]:
    """Plain values that, with the documents, determine the tokens."""
    windows = {key: getattr(config, key) for key in ("window", "overlap", "max_windows")}
    return {"trained_text": TRAINED_VERSION, **tokenizer, **windows, "sections": list(config.sections)}
