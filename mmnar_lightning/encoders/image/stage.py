"""From the settings `embed.image.*` to the encoder of images."""

from dataclasses import dataclass
from pathlib import Path

import torch

from mmnar_lightning.encoders.encoder import Encoder
from mmnar_lightning.encoders.image.config import ImageConfig
from mmnar_lightning.encoders.image.frozen import FrozenImages
from mmnar_lightning.encoders.image.ready import OwnVectors, ReleaseImages
from mmnar_lightning.encoders.image.trained import TrainedImages


@dataclass(frozen=True, kw_only=True)
class ImageFolders:
    """Where images lie; None where a release has none.

    Attributes:
        pictures: of MIMIC-CXR-JPG.
        embeddings: of the image-embeddings release.
    """

    pictures: Path | None = None
    embeddings: Path | None = None


def image_encoder(config: ImageConfig, data: Path, folders: ImageFolders, device: torch.device) -> Encoder:
    """The encoder of these settings.

    Args:
        config: `embed.image`, with an encoder.
        data: `paths.data`.
        folders: where images lie.
        device: where a frozen network runs.

    Raises:
        ValueError: when there is no release that the encoder reads.
    """
    if config.encoder == "vectors":
        return OwnVectors(config, data)
    folder, what = (
        (folders.embeddings, "image-embeddings release")
        if config.encoder == "release"
        else (folders.pictures, "MIMIC-CXR-JPG with its images (files/)")
    )
    if folder is None:
        raise ValueError(
            f"embed.image.encoder={config.encoder}: there is no {what} under the roots; use embed.image.encoder=none"
        )
    if config.encoder == "release":
        return ReleaseImages(config, data, folder)
    return TrainedImages(config, data, folder) if config.trained else FrozenImages(config, data, folder, device)
