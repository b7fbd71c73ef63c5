"""Images encoded once by a frozen network."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from data_modules import stage
from data_modules.batch import to_device
from mmnar_lightning.console import progress
from mmnar_lightning.encoders.image.backbone import image_backbone
from mmnar_lightning.encoders.image.files import ImageFiles
from mmnar_lightning.encoders.image.keys import image_keys
from mmnar_lightning.encoders.image.ready import IMAGES_VERSION, Found
from mmnar_lightning.encoders.image.selection import Pixels, read_image, read_images
from mmnar_lightning.encoders.image.vectors import Floats
from mmnar_lightning.encoders.vector_store import UNIT_BATCHES, Plan, VectorStore
from mmnar_lightning.nn.backbone import tensor_cores
from mmnar_lightning.nn.images import ImageBackbone
from mmnar_lightning.nn.weights import fingerprint


@dataclass(frozen=True)
class FrozenImages(ImageFiles):
    """Images encoded by a frozen network; each image is encoded once for all cohorts.

    Attributes:
        device: device of the network.
    """

    device: torch.device

    @cached_property
    def backbone(self) -> ImageBackbone:
        """The network."""
        backbone = image_backbone(self.config).to(self.device)
        return backbone.to(memory_format=torch.channels_last) if self.device.type == "cuda" else backbone

    @cached_property
    def encoder(self) -> dict[str, Any]:
        """Plain values that, with the image, determine its vector."""
        return {
            "frozen_images": IMAGES_VERSION,
            "model": self.config.model,
            "weights": fingerprint(self.backbone),
            "input": self.input.description,
            "bf16": self.config.bf16,
        }

    @property
    def identity(self) -> dict[str, Any]:
        """The network and the selection of images."""
        return {**self.encoder, **self.choice}

    @cached_property
    def vectors(self) -> VectorStore:
        """The vectors of all images encoded by this network; NaN for unreadable ones."""
        return VectorStore(self.data / "embeddings" / f"images-{stage.digest(self.encoder)}")

    def prepare(self, source: Path) -> None:
        """Encode the images without a vector."""
        images = self.images(source)
        keys, whole = self.known(source, images)
        missing = self.vectors.missing(keys[whole])
        if not len(missing):
            return
        plan = Plan(
            missing, np.arange(len(missing)), np.ones(len(missing), np.float32), self.config.batch_size * UNIT_BATCHES
        )
        first = np.searchsorted(keys, missing, sorter=(order := np.argsort(keys, kind="stable")))
        files = images["file"].gather(order[first])
        with progress(f"encoding images of {source.name}", len(missing), "images") as advance:
            self.vectors.build(plan, lambda pieces: self._encode(files[pieces]), advance)

    def _encode(self, files: pl.Series) -> Floats:
        """The vectors of images, (n, width) float32; NaN for unreadable ones, which `write` counts."""
        # The threads read the next batch while the network encodes the current one.
        read = read_images(self.paths(files), self.input, self.config.num_workers, 2 * self.config.batch_size)
        vectors, unreadable = [], []
        with torch.no_grad(), tensor_cores(self.device):
            for start in range(0, len(files), self.config.batch_size):
                shown = [next(read) for _ in files[start : start + self.config.batch_size]]
                vectors.append(self._encode_batch(shown))
                unreadable += [isinstance(image, str) for image in shown]
            # Copied at the end: a copy after each batch would leave a GPU idle while the next is read.
            encoded: Floats = torch.cat(vectors).cpu().numpy()
        encoded[unreadable] = np.nan
        return encoded

    def _encode_batch(self, shown: Sequence[Pixels | str]) -> Tensor:
        nothing = np.zeros(self.input.shape, np.uint8)
        pixels = torch.from_numpy(np.stack([nothing if isinstance(image, str) else image for image in shown]))
        encoded: Tensor = self.backbone({"pixels": to_device(pixels, self.device)})
        return encoded

    def write(self, source: Path, rows: pl.DataFrame, target: Path) -> list[str]:
        """Write the vectors of each row."""
        return self._write(source, rows, target, self.backbone.width, self._look_up, self._reason)

    def _look_up(self, images: pl.DataFrame) -> Found:
        keys, whole = image_keys(self.folder, images["file"], self.suffix)
        vectors = np.full((images.height, self.backbone.width), np.nan, np.float32)
        place = np.flatnonzero(whole)
        for block, found in self.vectors.read(keys[whole]):
            vectors[place[block]] = found
        return np.asarray(np.isfinite(vectors).all(axis=1)), vectors

    def _reason(self, file: str) -> str:
        image = read_image(self.folder / f"{file}{self.suffix}", self.input)
        return image if isinstance(image, str) else "not finite after encoding"
