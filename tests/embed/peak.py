"""Embeds a cohort and writes the peak of this process's memory, in bytes."""

import resource
import sys
from pathlib import Path

import torch

from mmnar_lightning.embed.config import EmbedConfig
from mmnar_lightning.embed.stage import embed
from mmnar_lightning.embed.text_config import TextConfig

if __name__ == "__main__":
    cohort, model, data = sys.argv[1:]
    torch.set_num_threads(1)
    text = TextConfig(encoder="transformers", model=model, window=16, overlap=4, max_windows=1)
    embed(Path(cohort), EmbedConfig(text=text, accelerator="cpu"), Path(data), None)
    sys.stdout.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
