"""A tiny random BERT with a word-piece vocabulary, and a cohort of notes; imports as little as it can."""

import json
from pathlib import Path

import polars as pl
import torch

WORDS = [
    "no", "edema", "severe", "lungs", "are", "clear", "walks", "with", "a", "cane", "brief", "hospital", "course",
    "the", "stay", "was", "long", "pain", "left", "right", "side", "of", "chest", "heart", "failure",
]  # fmt: skip
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, ".", ":", ",", "##s"]


def write_model(folder: Path, *, seed: int = 0, layers: int = 2, width: int = 16, positions: int = 32) -> Path:
    """Save a BERT with random weights and its tokenizer as `transformers` does."""
    from transformers import BertConfig, BertModel, BertTokenizer

    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=positions,
    )
    BertModel(config).save_pretrained(folder)
    vocabulary = {word: number for number, word in enumerate(VOCABULARY)}
    BertTokenizer(vocab=vocabulary).save_pretrained(folder)
    return folder


def note(number: int, length: int) -> str:
    """A note of so many words, another one for every number."""
    return " ".join(WORDS[(number * 7 + place * (number % 5 + 1)) % len(WORDS)] for place in range(length))


def write_cohort(folder: Path, texts: dict[int, list[str]], num_rows: int, fingerprint: str = "f") -> Path:
    """A finished cohort folder with one modality, `note`; every fourth row is in test."""
    (folder / "modalities" / "note").mkdir(parents=True)
    split = ["test" if row % 4 == 3 else "train" for row in range(num_rows)]
    pl.DataFrame({"row_id": range(num_rows), "split": split}).write_parquet(folder / "cohort.parquet")
    listed = [
        {"row_id": row, "document_id": f"{row}-{place}", "hours": float(place - 10), "text": text}
        for row, several in texts.items()
        for place, text in enumerate(several)
    ]
    schema = {"row_id": pl.UInt32, "document_id": pl.String, "hours": pl.Float64, "text": pl.String}
    frame = pl.DataFrame(listed, schema=schema).sample(fraction=1.0, shuffle=True, seed=1)
    frame.write_parquet(folder / "modalities" / "note" / "documents.parquet", row_group_size=8)
    modalities = [{"name": "note", "kind": "documents", "width": 0}]
    (folder / "manifest.json").write_text(json.dumps({"fingerprint": fingerprint, "modalities": modalities}))
    return folder
