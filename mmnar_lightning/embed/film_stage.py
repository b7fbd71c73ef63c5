"""From the settings `embed.film.*` to the encoder of films."""

from dataclasses import dataclass
from pathlib import Path

import torch

from mmnar_lightning.embed.encoder import Encoder
from mmnar_lightning.embed.film_config import FilmConfig
from mmnar_lightning.embed.film_encoders import OwnVectors, ReleaseFilms
from mmnar_lightning.embed.film_networks import FrozenFilms, TrainedFilms


@dataclass(frozen=True, kw_only=True)
class FilmFolders:
    """Where films lie; None where a release has none.

    Attributes:
        pictures: of MIMIC-CXR-JPG.
        embeddings: of the image-embeddings release.
    """

    pictures: Path | None = None
    embeddings: Path | None = None


def film_encoder(config: FilmConfig, data: Path, folders: FilmFolders, device: torch.device) -> Encoder:
    """The encoder of these settings.

    Args:
        config: `embed.film`, with an encoder.
        data: `paths.data`.
        folders: where films lie.
        device: where a frozen network runs.

    Raises:
        ValueError: when there is no release that the encoder reads.
    """
    if config.encoder == "vectors":
        return OwnVectors(config, data)
    folder, what = (
        (folders.embeddings, "image-embeddings release")
        if config.encoder == "release"
        else (folders.pictures, "MIMIC-CXR-JPG with its films (files/)")
    )
    if folder is None:
        raise ValueError(
            f"embed.film.encoder={config.encoder}: there is no {what} under the roots; use embed.film.encoder=none"
        )
    if config.encoder == "release":
        return ReleaseFilms(config, data, folder)
    return TrainedFilms(config, data, folder) if config.trained else FrozenFilms(config, data, folder, device)
