"""Embeds cohorts one after the other, with each of several encoders, and writes its peaks of memory in bytes.

The network is left out: what it takes depends on batch_windows, and it would take all the time.
"""

import json
import re
import sys
from pathlib import Path
from threading import Event, Thread

import torch

from mmnar_lightning.encoders import stage
from mmnar_lightning.encoders.config import EmbedConfig
from mmnar_lightning.encoders.text import corpus, hashed
from mmnar_lightning.encoders.text.config import TextConfig
from mmnar_lightning.nn.text import TextBackbone

GROUP = 8
"""Documents in memory together: few, so that a small cohort already shows the most that a large one takes."""


def held() -> int:
    """Bytes that this process holds besides mapped files, which the system takes back when it needs room."""
    (kilobytes,) = re.findall(r"^RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return 1024 * int(kilobytes)


class Peak(Thread):
    """The most that this process held while the body ran."""

    def __enter__(self) -> "Peak":
        self.most, self.over = 0, Event()
        self.start()
        return self

    def run(self) -> None:
        while not self.over.wait(0.002):
            self.most = max(self.most, held())

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()


if __name__ == "__main__":
    encoders, data, *cohorts = sys.argv[1:]
    torch.set_num_threads(1)
    setattr(TextBackbone, "trimmed_windows", lambda self, tokens, *_, **__: torch.ones(len(tokens), self.width))  # noqa: B010
    corpus.CHUNK = hashed.ROWS_TOGETHER = GROUP
    # Statistics are taken in blocks of more rows than the larger cohort has.
    setattr(stage, "HASHED_WIDTH", 16)  # noqa: B010  # the name that the module imported
    peaks: list[list[int]] = []
    for settings in json.loads(encoders):
        peaks.append([])
        for cohort in cohorts:
            with Peak() as peak:
                stage.embed(Path(cohort), EmbedConfig(text=TextConfig(**settings)), Path(data), None, "cpu")
            peaks[-1].append(peak.most)
    sys.stdout.write(json.dumps(peaks))
