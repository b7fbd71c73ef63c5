"""Images as pixels, for a network trained with the model."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from data_modules import stage
from data_modules.features import store
from data_modules.loading.items import PIXELS, STORE, RowItems
from mmnar_lightning.console import progress
from mmnar_lightning.encoders.image.backbone import image_width
from mmnar_lightning.encoders.image.files import ImageFiles
from mmnar_lightning.encoders.image.ready import IMAGES_VERSION
from mmnar_lightning.encoders.image.selection import read_images


@dataclass(frozen=True)
class TrainedImages(ImageFiles):
    """The pixels of images, for a network trained with the model."""

    @cached_property
    def width(self) -> int:
        """Width of the network's output."""
        return image_width(self.config)

    @property
    def identity(self) -> dict[str, Any]:
        """Version, input format, width of the vectors and selection of images."""
        choice = {key: value for key, value in self.choice.items() if key != "pooling"}
        shown = {"input": self.input.description, "width": self.width}
        return {"pixels": IMAGES_VERSION, **shown, **choice}

    def prepare(self, source: Path) -> None:
        """No work: one process decodes in `write`, with `num_workers` threads."""

    def write(self, source: Path, rows: pl.DataFrame, target: Path) -> list[str]:
        """Write the pixels of each row's images in the input format of the network."""
        images = self.images(source)
        self.known(source, images)
        unreadable = self.unreadable(source, images.height)
        paths = self.paths(images["file"])
        readable = np.zeros(images.height, np.bool_)
        pixels = store.create_file(target / PIXELS, (images.height, *self.input.shape), np.uint8)
        with progress(f"decoding images of {source.name}", images.height, "images") as advance:
            for position, image in enumerate(read_images(paths, self.input, self.config.num_workers)):
                if isinstance(image, str):
                    unreadable.add(images["file"][position], image)
                else:
                    readable[position], pixels[position] = True, image
                advance(1)
        row = images["row_id"].cast(pl.Int64).to_numpy()[readable]
        RowItems.save(target, rows.height, row, np.flatnonzero(readable))
        stage.write_json(target / STORE, {"width": self.width})
        return unreadable.finish()
