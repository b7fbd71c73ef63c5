"""Trains several times in one process group; leaves beside each run what every step's loss and gradient were.

Every rank leaves `written-<ranks>-<rank>.json`, the files that it wrote.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
import torch
from lightning import Callback

from mmnar_lightning.callbacks.checkpoints import checkpoint_callbacks
from mmnar_lightning.config.compose import load
from mmnar_lightning.console import quieten
from mmnar_lightning.distributed import launch
from mmnar_lightning.distributed.collectives import rank, sum_over_ranks, world_size
from mmnar_lightning.runs import single
from mmnar_lightning.runs import trainer as training

WRITTEN: set[str] = set()


def note_writing(event: str, given: tuple[Any, ...]) -> None:
    """Hear of files that Python opens to write, and of renamed ones."""
    if event == "open" and isinstance(given[0], str) and given[2] & (os.O_WRONLY | os.O_RDWR):
        WRITTEN.add(str(Path(given[0]).absolute()))
    if event == "os.rename":
        WRITTEN.add(str(Path(given[1]).absolute()))


def note_frames() -> None:
    """Hear of files that polars writes by itself."""
    for name in ("write_csv", "write_parquet"):
        usual = getattr(pl.DataFrame, name)

        def noted(frame: pl.DataFrame, file: Any, *given: Any, usual: Any = usual, **named: Any) -> Any:
            WRITTEN.add(str(Path(file).absolute()))
            return usual(frame, file, *given, **named)

        setattr(pl.DataFrame, name, noted)


class Probe(Callback):
    """Notes losses and gradients, as all ranks together have them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.losses: list[float] = []
        self.gradients: list[torch.Tensor] = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        parameters = [parameter for parameter in pl_module.parameters() if parameter.requires_grad]
        self.gradients.append(torch.cat([parameter.grad.flatten() for parameter in parameters]).clone())

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.losses.append(sum_over_ranks(outputs["loss"]).item() / world_size())

    def on_train_end(self, trainer, pl_module) -> None:
        if rank() == 0:
            torch.save({"losses": self.losses, "gradients": self.gradients}, self.path)


def train(words: list[str]) -> Path:
    """One run; its folder also holds probe.pt."""

    def probed(folder: Path, *given: Any) -> list[Callback]:
        return [Probe(folder.parent / "probe.pt"), *checkpoint_callbacks(folder, *given)]

    with patch.object(training, "checkpoint_callbacks", probed):
        return single.train(load(words))


if __name__ == "__main__":
    quieten()
    launch.init_process_group()
    sys.addaudithook(note_writing)
    note_frames()
    shared, *variants = " ".join(sys.argv[1:]).split(" / ")
    for variant in variants:
        train([*shared.split(), *variant.split()])
    Path(f"written-{world_size()}-{rank()}.json").write_text(json.dumps(sorted(WRITTEN)))
