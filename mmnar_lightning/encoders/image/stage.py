"""The image encoder of the settings `embed.image.*`."""

from dataclasses import dataclass
from pathlib import Path

import torch

from data_modules.cohorts.given_images import SUFFIX
from data_modules.errors import UserError
from mmnar_lightning.encoders.encoder import Encoder
from mmnar_lightning.encoders.image.config import ImageConfig
from mmnar_lightning.encoders.image.frozen import FrozenImages
from mmnar_lightning.encoders.image.keys import JPEG
from mmnar_lightning.encoders.image.ready import OwnVectors, ReleaseImages
from mmnar_lightning.encoders.image.trained import TrainedImages


@dataclass(frozen=True, kw_only=True)
class ImageFolders:
    """Folders of the images; None without the release.

    Attributes:
        pictures: MIMIC-CXR-JPG, or a custom cohort.
        embeddings: the image-embeddings release.
        suffix: of the pictures, beyond their names in the cohort; empty for a custom cohort, which has whole names.
    """

    pictures: Path | None = None
    embeddings: Path | None = None
    suffix: str = JPEG


def custom_images(source: Path) -> ImageFolders:
    """Where the images of a custom cohort are."""
    return ImageFolders(pictures=source, suffix=SUFFIX)


def image_encoder(config: ImageConfig, data: Path, folders: ImageFolders, device: torch.device) -> Encoder:
    """The image encoder of these settings.

    Args:
        config: `embed.image`, with an encoder.
        data: `paths.data`.
        folders: of the images.
        device: device of a frozen network.

    Returns:
        The encoder.

    Raises:
        UserError: if the release that the encoder reads is missing.
    """
    if config.encoder == "vectors":
        return OwnVectors(config, data)
    folder, what = (
        (folders.embeddings, "image-embeddings release")
        if config.encoder == "release"
        else (folders.pictures, "MIMIC-CXR-JPG with its images (files/)")
    )
    if folder is None:
        raise UserError(
            f"embed.image.encoder={config.encoder}: there is no {what} under the roots; use embed.image.encoder=none"
        )
    if config.encoder == "release":
        return ReleaseImages(config, data, folder)
    if config.trained:
        return TrainedImages(config, data, folder, folders.suffix)
    return FrozenImages(config, data, folder, folders.suffix, device)
