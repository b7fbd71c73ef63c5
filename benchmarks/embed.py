"""Windows a second of the embed stage, beside a bare loop over the same backbone with batches that lie ready.

The stage reads documents from disk, tokenises them, encodes them and writes the store; the loop only encodes. Both run
the same windows in turns, on the CPU, with a BERT of random weights.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from data_modules.features import documents
from data_modules.features.store import blocks
from data_modules.features.tokens import TokenTable
from mmnar_lightning.encoders.text.config import TextConfig
from mmnar_lightning.encoders.text.corpus import read_corpus
from mmnar_lightning.encoders.text.frozen import FrozenText, load_backbone, tokeniser_of
from mmnar_lightning.encoders.text.tokens import write_tokens
from mmnar_lightning.nn.text import TextBackbone

WINDOW, OVERLAP, BATCH = 128, 16, 16
NUM_WORDS = 2000
SMALL: dict[str, Any] = {
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
}
"""The shape of a model for the CPU."""
MIN_SHARE = 90.0
"""Per cent of the bare loop's windows a second."""


def write_model(folder: Path, window: int, shape: Mapping[str, Any]) -> None:
    """A BERT of random weights over made-up words."""
    from transformers import BertConfig, BertModel, BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{number}" for number in range(NUM_WORDS))]
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        max_position_embeddings=window,
        **shape,
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizer(vocab={word: number for number, word in enumerate(words)}).save_pretrained(folder)


def write_documents(folder: Path, num_documents: int) -> None:
    """Notes of 20 to 900 words, most of them short."""
    rng = np.random.default_rng(0)
    lengths = 20 + (880 * rng.beta(1, 3, num_documents)).astype(int)
    texts = [" ".join(f"w{word}" for word in rng.integers(0, NUM_WORDS, length)) for length in lengths]
    frame = pl.DataFrame({"row_id": np.arange(num_documents), "text": texts})
    frame.write_parquet(folder / documents.DOCUMENTS, row_group_size=documents.ROW_GROUP)


def ideal_batches(source: Path, model: Path, config: TextConfig, folder: Path) -> list[tuple[Tensor, Tensor]]:
    """All windows, the longest first, in memory as the backbone wants them."""
    keys = read_corpus(source, []).key
    write_tokens(source, config, tokeniser_of(model, config), set(keys.tolist()), folder)
    table = TokenTable(folder)
    order = np.argsort(-table.lengths(), kind="stable")
    gathered = [table.gather(order[block]) for block in blocks(len(order), config.batch_windows)]
    return [(torch.from_numpy(tokens.astype(np.int64)), torch.from_numpy(length)) for tokens, length in gathered]


def bare_loop(backbone: TextBackbone, batches: list[tuple[Tensor, Tensor]]) -> None:
    """Encode what lies ready."""
    with torch.inference_mode():
        for tokens, length in batches:
            backbone.windows(tokens, length).cpu().numpy()


def seconds(work: Callable[[], object]) -> float:
    """How long something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> int:
    """Measure; returns 1 where the stage is too slow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for part in ("model", "note", "tokens"):
            (place / part).mkdir()
        write_model(place / "model", WINDOW, SMALL)
        write_documents(place / "note", chosen.documents)
        config = TextConfig(encoder="transformers", model=str(place / "model"), window=WINDOW, batch_windows=BATCH)
        batches = ideal_batches(place / "note", place / "model", config, place / "tokens")
        backbone = load_backbone(place / "model", config)
        bare_loop(backbone, batches[:4])
        loop, stage = [], []
        for repeat in range(chosen.repeats):
            encoder = FrozenText(config, place / f"stores-{repeat}", torch.device("cpu"))
            stage.append(seconds(lambda encoder=encoder: encoder.prepare(place / "note")))  # type: ignore[misc]
            loop.append(seconds(lambda: bare_loop(backbone, batches)))
    num_windows = sum(len(length) for _, length in batches)
    share = 100 * median(loop) / median(stage)
    print(f"text: {num_windows} windows of {chosen.documents} documents, {torch.get_num_threads()} threads")
    print(f"  bare loop {num_windows / median(loop):8.1f} windows/s")
    print(f"  stage     {num_windows / median(stage):8.1f} windows/s ({share:.1f} %, at least {MIN_SHARE:.0f} %)")
    return 0 if share >= MIN_SHARE else 1


if __name__ == "__main__":
    raise SystemExit(main())
