"""What each of several processes does that build one store; it imports as little as it can."""

import os
import sys
from pathlib import Path

import torch

from mmnar_lightning.embed.config import EmbedConfig
from mmnar_lightning.embed.stage import embed
from mmnar_lightning.embed.text_config import TextConfig
from mmnar_lightning.nn.text import TextBackbone


def settings(model: Path) -> EmbedConfig:
    """Small windows and units, so that there are many of them."""
    text = TextConfig(encoder="transformers", model=str(model), window=16, overlap=4, batch_windows=2)
    return EmbedConfig(text=text, accelerator="cpu")


def die_after(batches: int) -> None:
    """End this process without a word at the start of a later batch, as a kill does."""
    forward, seen = TextBackbone.windows, []

    def counted(self: TextBackbone, tokens: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        seen.append(1)
        if len(seen) > batches:
            os._exit(9)
        return forward(self, tokens, length)

    TextBackbone.windows = counted  # type: ignore[method-assign]


if __name__ == "__main__":
    cohort, model, data, batches = sys.argv[1:]
    torch.set_num_threads(1)
    if int(batches) >= 0:
        die_after(int(batches))
    embed(Path(cohort), settings(Path(model)), Path(data), None)
