"""Opens a cohort of new rows, as a stored model reads it."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from data_modules.cohorts.config import ReleaseCohortConfig
from data_modules.cohorts.fitting import Words
from data_modules.databases.meds.config import MEDSCohortConfig
from data_modules.databases.registry import database
from data_modules.datamodule import CohortDataModule, MEDSDataModule, ReleaseDataModule
from data_modules.loading.config import LoaderConfig
from data_modules.loading.opened import OpenedCohort
from mmnar_lightning.blueprint import typed
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig, cohort_config
from mmnar_lightning.console import warn
from mmnar_lightning.encoders.config import EmbedConfig
from mmnar_lightning.encoders.image.stage import ImageFolders
from mmnar_lightning.encoders.stage import embed
from mmnar_lightning.runs.build import image_folders
from mmnar_lightning.runs.cohorts import meds_root
from mmnar_lightning.saved.cohort_folder import of_folder
from mmnar_lightning.saved.description import Description


def open_new(described: Description, config: ExperimentConfig) -> CohortDataModule:
    """Build and open the cohort that `paths` names: `paths.cohort`, or a root of the model's own database.

    Texts and images are encoded as for the model's cohort, and words of its vocabularies become the same columns.

    Args:
        described: of the model.
        config: paths, and the device of frozen encoders.

    Returns:
        The datamodule of the cohort, with its labels if it has any. Without a path a `ConfigError` says what to give.
    """
    datamodule = _datamodule(described, config)
    datamodule.prepare_data()
    datamodule.setup()
    for line in other_encoders(described, datamodule.cohort):
        warn(line)
    return datamodule


def other_encoders(described: Description, cohort: OpenedCohort) -> list[str]:
    """Lines on texts and images that are encoded otherwise than those that a model was trained on.

    Args:
        described: of the model.
        cohort: of new rows.

    Returns:
        A line for each modality whose encoder, or how it reads, is another; a file of one's own vectors may be.
    """
    own, known = typed(EmbedConfig, described.settings["embed"]), described.encoders or {}
    encoders = {entry.name: own.of(entry) for entry in cohort.modalities if entry.name in cohort.encoders}
    return [
        f"{name} is encoded otherwise than in training: another version of the program or of the encoder; train the "
        "model again, or predict with the version that trained it"
        for name, config in encoders.items()
        if config is not None and config.encoder != "vectors" and known.get(name, "") not in {"", cohort.encoders[name]}
    ]


def _datamodule(described: Description, config: ExperimentConfig) -> CohortDataModule:
    data = Path(config.paths.data)
    if config.paths.cohort:
        return of_folder(described, Path(config.paths.cohort), data, config.trainer.accelerator)
    roots = "" if described.dataset == "custom" else config.paths.root(described.dataset)
    if not roots:
        own = "" if described.dataset == "custom" else f", or paths.{described.dataset}_root=/path, a release"
        raise ConfigError(
            f"predict needs paths.cohort=/path, a folder as docs/cohort.md describes (labels are not needed){own}"
        )
    cohort = typed(cohort_config(described.dataset), described.cohort_settings)
    if isinstance(cohort, MEDSCohortConfig):
        return _of_meds(described, config, cohort)
    assert isinstance(cohort, ReleaseCohortConfig)
    files = image_folders(database(described.dataset), roots)
    return ReleaseDataModule(
        described.dataset,
        roots=roots,
        config=cohort,
        data=data,
        vocabularies=dict(pair for entry in described.modalities for pair in entry.vocabularies.items()),
        **_loading(described, config, files),
    )


def _of_meds(described: Description, config: ExperimentConfig, cohort: MEDSCohortConfig) -> CohortDataModule:
    """New MEDS data, with the labels that the settings name: their subjects and times are the rows."""
    given = config.cohort if isinstance(config.cohort, MEDSCohortConfig) else cohort
    if not given.labels:
        raise ConfigError("predict needs dataset=meds cohort.labels=/path cohort.mapping=/path, the rows to predict")
    columns = {entry.name: entry.columns for entry in described.modalities if entry.kind == "table"}
    return MEDSDataModule(
        root=meds_root(config.paths),
        config=replace(given, given_splits=False),
        data=Path(config.paths.data),
        words=Words(min_subjects=described.min_count, columns=columns),
        **_loading(described, config, ImageFolders()),
    )


def _loading(described: Description, config: ExperimentConfig, images: ImageFolders) -> dict[str, Any]:
    own = typed(EmbedConfig, described.settings["embed"])
    encode = partial(
        embed,
        config=own,
        data=Path(config.paths.data),
        images=images,
        accelerator=config.trainer.accelerator,
    )
    return {"loader": LoaderConfig(), "encode": encode}
