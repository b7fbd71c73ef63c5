"""What each of several processes does that build one store; it imports as little as it can.

It writes how many units it encoded.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from mmnar_lightning.encoders import vector_store
from mmnar_lightning.encoders.config import EmbedConfig
from mmnar_lightning.encoders.image import frozen
from mmnar_lightning.encoders.image.config import ImageConfig
from mmnar_lightning.encoders.image.stage import ImageFolders
from mmnar_lightning.encoders.stage import embed
from mmnar_lightning.encoders.text.config import TextConfig
from mmnar_lightning.nn.text import TextBackbone

KILLED = 9
BATCHES = 2
"""Batches of a unit of images."""
PATIENCE_SECONDS = 600


def settings(model: Path) -> EmbedConfig:
    """Small windows, batches and units, so that there are many of them."""
    text = TextConfig(encoder="transformers", model=str(model), window=16, batch_windows=2)
    if model.is_dir():
        return EmbedConfig(text=text)
    image = ImageConfig(encoder="timm", model="test_resnet", weights=str(model), batch_size=1, num_workers=0)
    return EmbedConfig(image=image)


def before(owner: object, name: str, act: Callable[[], None]) -> None:
    """Do something whenever a method or function begins."""
    real = getattr(owner, name)

    def changed(*arguments: object, **named: object) -> object:
        act()
        return real(*arguments, **named)

    setattr(owner, name, changed)


def die_after(batches: int) -> None:
    """End this process without a word at the start of a later batch, as a kill does."""
    seen: list[int] = []

    def count() -> None:
        seen.append(1)
        if len(seen) > batches:
            os._exit(KILLED)

    before(TextBackbone, "trimmed_windows", count)
    before(frozen.FrozenImages, "_encode_batch", count)


def die_joining() -> None:
    """End this process when the shard is written but not yet in its place."""
    real = vector_store._join

    def joined(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type]
        os._exit(KILLED)

    vector_store._join = joined  # type: ignore[assignment]


def meet(place: Path, processes: int) -> None:
    """Wait until so many processes are here: each then has a unit in hand, and none can do all of them."""
    place.mkdir(exist_ok=True)
    (place / str(os.getpid())).touch()
    for _ in range(10 * PATIENCE_SECONDS):
        if len(list(place.iterdir())) >= processes:
            return
        time.sleep(0.1)
    os._exit(KILLED)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("cohort", "model", "data"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--die-after", type=int)
    parser.add_argument("--die-joining", action="store_true")
    parser.add_argument("--meet", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.die_after is not None:
        die_after(chosen.die_after)
    if chosen.die_joining:
        die_joining()
    setattr(frozen, "UNIT_BATCHES", BATCHES)  # noqa: B010  # the name that the module imported
    units: list[int] = []

    def begin() -> None:
        if not units:
            meet(chosen.data.with_name(f"{chosen.data.name}-meeting"), chosen.meet)
        units.append(1)

    before(vector_store._Work, "_write", begin)
    embed(chosen.cohort, settings(chosen.model), chosen.data, ImageFolders(pictures=chosen.pictures), "cpu")
    sys.stdout.write(str(len(units)))
