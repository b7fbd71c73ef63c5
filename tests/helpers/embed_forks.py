"""Tokenises with a fast tokenizer, then reads the tokens in DataLoader workers that are forked from it."""

import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from data_modules.batch import Items
from data_modules.loading.items import TokenItems
from mmnar_lightning.encoders.config import EmbedConfig
from mmnar_lightning.encoders.stage import embed
from mmnar_lightning.encoders.text.config import TextConfig

ROWS = 8


class Rows(Dataset[Items]):
    """One row an item."""

    def __init__(self, store: TokenItems) -> None:
        self.store = store

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, row: int) -> Items:
        # Tokenizers older than 0.23 warn in a forked process unless this is set; with threads they may hang there.
        assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
        return self.store.gather(np.array([row]))


if __name__ == "__main__":
    cohort, model, data = map(Path, sys.argv[1:])
    text = TextConfig(encoder="transformers", mode="trained", model=str(model), window=16)
    store = TokenItems(embed(cohort, EmbedConfig(text=text), data, None)["note"])
    loader = DataLoader(Rows(store), batch_size=None, num_workers=2, multiprocessing_context="fork")
    total = sum(int(items.values["length"].sum()) for items in loader)
    assert total == int(torch.as_tensor(store.table.lengths()).sum())
    sys.stdout.write(f"{total} tokens\n")
