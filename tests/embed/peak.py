"""Embeds cohorts one after the other and writes the peak of this process's memory in each, in bytes."""

import json
import re
import sys
from pathlib import Path

import torch

from mmnar_lightning.embed import corpus
from mmnar_lightning.embed.config import EmbedConfig
from mmnar_lightning.embed.stage import embed
from mmnar_lightning.embed.text_config import TextConfig

GROUP = 64
"""Documents in memory together: few, so that a small cohort already shows the most that a large one takes."""


def status(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    (kilobytes,) = re.findall(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return 1024 * int(kilobytes)


if __name__ == "__main__":
    model, data, *cohorts = sys.argv[1:]
    torch.set_num_threads(1)
    text = TextConfig(encoder="transformers", model=model, window=16, overlap=4, max_windows=1)
    corpus.CHUNK = GROUP
    peaks = []
    for cohort in cohorts:
        Path("/proc/self/clear_refs").write_text("5")  # begins a new peak
        embed(Path(cohort), EmbedConfig(text=text, accelerator="cpu"), Path(data), None)
        peaks.append(status("VmHWM"))
    sys.stdout.write(json.dumps(peaks))
