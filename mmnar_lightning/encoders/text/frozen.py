"""Texts encoded once by a frozen pretrained model."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from data_modules import stage
from data_modules.batch import to_device
from data_modules.errors import UserError
from data_modules.features import store as arrays
from data_modules.features.tokens import TokenTable
from mmnar_lightning.console import progress
from mmnar_lightning.encoders.encoder import Vectors, write_vectors
from mmnar_lightning.encoders.text import pretrained
from mmnar_lightning.encoders.text.config import TextConfig
from mmnar_lightning.encoders.text.corpus import Corpus, read_corpus
from mmnar_lightning.encoders.text.tokens import KEYS, PretrainedTokeniser, write_tokens
from mmnar_lightning.encoders.vector_store import ENCODE, SETTING, UNIT_BATCHES, Keys, Plan, VectorStore
from mmnar_lightning.nn.backbone import tensor_cores
from mmnar_lightning.nn.text import PretrainedNetwork, TextBackbone

FROZEN_VERSION = 1


@dataclass(frozen=True)
class FrozenText:
    """Encodes documents with a model of `transformers`.

    Attributes:
        config: model, windows, pooling.
        stores: folder of the vector stores.
        device: device of the model.
    """

    config: TextConfig
    stores: Path
    device: torch.device

    @cached_property
    def folder(self) -> Path:
        """Folder of the model."""
        return pretrained.locate(self.config.model)

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """Plain values that, with the document, determine its vector."""
        config = self.config
        return {
            "frozen_text": FROZEN_VERSION,
            "weights": pretrained.digest_of(self.folder, (pretrained.CONFIG, *pretrained.WEIGHTS)),
            "tokenizer": pretrained.digest_of(self.folder, pretrained.TOKENIZER),
            **{key: getattr(config, key) for key in ("window", "overlap", "max_windows", "bf16")},
        }

    @property
    def identity(self) -> dict[str, Any]:
        """The fingerprint, sections and pooling."""
        return {**self.fingerprint, "sections": list(self.config.sections), "pooling": self.config.pooling}

    @cached_property
    def store(self) -> VectorStore:
        """The vectors of all documents encoded by this model."""
        return VectorStore(self.stores / f"text-{stage.digest(self.fingerprint)}")

    def contents(self, source: Path) -> None:
        """Nothing outside of the cohort."""

    def prepare(self, source: Path) -> None:
        """Encode the documents without a vector, together with all processes that call this."""
        missing = self.store.missing(read_corpus(source, self.config.sections).key)
        if not len(missing):
            return
        tokens = self.store.work_of(missing) / "tokens"
        stage.run_stage(tokens, lambda folder: self._tokenise(source, missing, folder), SETTING)
        table, plan, windows = self._plan(tokens, missing)
        backbone = load_backbone(self.folder, self.config).to(self.device).eval()
        with progress(f"encoding {source.name}", len(missing), "documents") as advance:
            self.store.build(plan, lambda pieces: self._encode(backbone, table, windows[pieces]), advance)

    def _tokenise(self, source: Path, missing: Keys, folder: Path) -> None:
        write_tokens(source, self.config, tokeniser_of(self.folder, self.config), missing.tolist(), folder)
        stage.write_json(folder / stage.MANIFEST, {"documents": len(missing)})

    def _plan(self, tokens: Path, keys: Keys) -> tuple[TokenTable, Plan, NDArray[np.int64]]:
        """Token table, plan of all windows (longest first, then by document and position), and table positions."""
        stage.verify(tokens, ENCODE)
        table = TokenTable(tokens)
        written: Keys = np.load(tokens / KEYS)
        per_document = np.diff(table.document)
        item = np.repeat(np.searchsorted(keys, written), per_document)
        length = table.lengths()
        windows = np.lexsort((np.arange(len(item)), item, -length))
        unit = self.config.batch_windows * UNIT_BATCHES
        return table, Plan(keys, item[windows], length[windows].astype(np.float32), unit), windows

    def _encode(self, backbone: TextBackbone, table: TokenTable, windows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors of windows, (n, width) float32; batches start at the first window, the same on all processes."""
        parts = []
        with torch.inference_mode(), tensor_cores(self.device):
            for block in arrays.blocks(len(windows), self.config.batch_windows):
                tokens, length = table.gather(windows[block])
                given = [to_device(torch.from_numpy(part.astype(np.int64)), self.device) for part in (tokens, length)]
                is_full = bool((length == tokens.shape[1]).all())
                parts.append(backbone.trimmed_windows(*given, is_full=is_full))
            # Copied at the end: a copy after each batch would leave a GPU idle while the next is gathered.
            found: NDArray[np.float32] = torch.cat(parts).cpu().numpy()
        return found

    def write(self, source: Path, rows: pl.DataFrame, target: Path) -> list[str]:
        """Write one vector per row or, for attention, one per document."""
        corpus = read_corpus(source, self.config.sections)
        width = self.store.width() if len(corpus.key) else 1
        write_vectors(target, rows, width, self.config.pooling, len(corpus.key), self._vectors(corpus))
        return corpus.left_out

    def _vectors(self, corpus: Corpus) -> Iterator[Vectors]:
        for block, vectors in self.store.read(corpus.key):
            yield corpus.row[block], vectors


def load_backbone(folder: Path, config: TextConfig) -> TextBackbone:
    """The pretrained model of a folder as a backbone.

    Args:
        folder: of the model.
        config: windows and precision.

    Returns:
        The backbone.

    Raises:
        UserError: if windows are longer than its position embeddings.
    """
    model = pretrained.load_model(folder)
    settings: Any = model.config
    longest = getattr(settings, "max_position_embeddings", None)
    if longest is not None and config.window > longest:
        raise UserError(f"embed.text.window={config.window}: {folder} reads at most {longest} tokens")
    return TextBackbone(
        PretrainedNetwork(model),
        settings.hidden_size,
        batch_windows=config.batch_windows,
        bf16=config.bf16,
        checkpointing=config.gradient_checkpointing,
    )


def tokeniser_of(folder: Path, config: TextConfig) -> PretrainedTokeniser:
    """The tokeniser of a folder with the configured windows."""
    tokenizer = pretrained.load_tokenizer(folder)
    return PretrainedTokeniser(tokenizer, config.window, config.overlap, config.max_windows)
