"""The embed stage: encodes the documents and images of a cohort."""

import os
from pathlib import Path

import polars as pl
import torch

from data_modules import stage
from data_modules.cohorts import pretraining
from data_modules.cohorts.build import BUILD, COHORT, MODALITIES
from data_modules.errors import UserError
from data_modules.vocabulary import Modality
from mmnar_lightning.encoders.config import EmbedConfig
from mmnar_lightning.encoders.encoder import Encoder
from mmnar_lightning.encoders.image.config import ImageConfig
from mmnar_lightning.encoders.image.stage import ImageFolders, image_encoder
from mmnar_lightning.encoders.text import pretrained
from mmnar_lightning.encoders.text.config import HASHED_WIDTH, SMALL_DIM, SMALL_VOCABULARY, TextConfig
from mmnar_lightning.encoders.text.frozen import FrozenText, tokeniser_of
from mmnar_lightning.encoders.text.hashed import HashedNgrams
from mmnar_lightning.encoders.text.tokens import HashedTokeniser
from mmnar_lightning.encoders.text.trained import TrainedText, trained_identity

EMBEDDER_VERSION = 2
EMBEDDINGS = "embeddings"


def embed(
    cohort: Path, config: EmbedConfig, data: Path, images: ImageFolders, accelerator: str = "auto"
) -> dict[str, Path]:
    """Encode all modalities with a configured encoder, unless the output exists.

    Processes that call this together share the work. An encoder that cannot be loaded raises a UserError, a missing or
    broken embedding file a SourceError, and a folder that cannot be written a StageError.

    Args:
        cohort: a finished cohort folder.
        config: settings of the encoders.
        data: `paths.data`.
        images: folders of the images.
        accelerator: `trainer.accelerator`, the device type of frozen encoders; `mps` stands for the CPU.

    Returns:
        Modality -> folder with its encoded inputs and presence.

    Raises:
        UserError: if the settings do not fit the cohort.
    """
    manifest = stage.read_manifest(cohort, BUILD)
    modalities = [Modality(**entry) for entry in manifest["modalities"]]
    names = [modality.name for modality in modalities]
    unknown = [name for name in config.modalities if name not in names]
    if unknown:
        raise UserError(f"embed.modalities.{unknown[0]}: the cohort has no such modality; it has {', '.join(names)}")
    encoders = {modality.name: _encoder(config.of(modality), accelerator, data, images) for modality in modalities}
    return {
        name: _embed(cohort, name, manifest["fingerprint"], encoder, data)
        for name, encoder in encoders.items()
        if encoder is not None
    }


def _embed(cohort: Path, name: str, fingerprint: str, encoder: Encoder, data: Path) -> Path:
    identity = {
        "embedder": EMBEDDER_VERSION,
        "cohort": fingerprint,
        "modality": name,
        "encoder": encoder.identity,
    }
    source = cohort / MODALITIES / name
    contents = encoder.contents(source)
    identity |= {} if contents is None else {"contents": contents}
    target = data / EMBEDDINGS / f"{name}-{stage.digest(identity)}"
    if stage.is_finished(target):
        return target
    stage.verify(cohort, BUILD)
    encoder.prepare(source)

    def write(folder: Path) -> None:
        rows = pretraining.appended(pl.read_parquet(cohort / COHORT, columns=["row_id", "split"]), cohort)
        left_out = encoder.write(source, rows, folder)
        stage.write_json(folder / stage.MANIFEST, {**identity, "left_out": left_out})

    stage.run_stage(target, write, "paths.data")
    return target


def _encoder(
    config: TextConfig | ImageConfig | None, accelerator: str, data: Path, images: ImageFolders
) -> Encoder | None:
    if config is None or config.encoder == "none":
        return None
    if isinstance(config, TextConfig):
        return text_encoder(config, accelerator, data)
    return image_encoder(config, data, images, device_of(accelerator))


def text_encoder(config: TextConfig, accelerator: str, data: Path) -> Encoder:
    """The text encoder of these settings."""
    if config.encoder == "hashed_ngrams":
        return HashedNgrams(HASHED_WIDTH, tuple(config.sections))
    if config.encoder == "small":
        tokeniser = HashedTokeniser(SMALL_VOCABULARY, config.window, config.max_windows)
        identity = trained_identity(config, {"words": SMALL_VOCABULARY})
        return TrainedText(config, {**identity, "dim": SMALL_DIM}, 2 * SMALL_DIM, lambda: tokeniser)
    if not config.trained:
        return FrozenText(config, data / EMBEDDINGS, device_of(accelerator))
    folder = pretrained.locate(config.model)
    tokenizer = {"tokenizer": pretrained.digest_of(folder, pretrained.TOKENIZER)}
    width = pretrained.width_of(folder)
    return TrainedText(
        config, {**trained_identity(config, tokenizer), "width": width}, width, lambda: tokeniser_of(folder, config)
    )


def device_of(accelerator: str) -> torch.device:
    """The device of this process; of several GPUs, the one of its local rank under torchrun or srun.

    Args:
        accelerator: `auto`, `cpu`, `gpu` or `mps`, which stands for the CPU.

    Returns:
        The device.

    Raises:
        UserError: if no GPU is available for `gpu`.
    """
    if accelerator in {"cpu", "mps"} or (accelerator == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError("trainer.accelerator=gpu: no GPU is available; use auto or cpu")
    rank = os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or "0"
    return torch.device("cuda", int(rank) % torch.cuda.device_count())
