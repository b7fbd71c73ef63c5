"""Builds the datamodule, module or estimator of a configuration; the only mapping from names to classes."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from data_modules.cohorts.config import CustomCohortConfig, ReleaseCohortConfig
from data_modules.cohorts.spec import DatabaseSpec
from data_modules.databases.registry import database
from data_modules.datamodule import CohortDataModule, CustomDataModule, ReleaseDataModule
from data_modules.loading.arrays import PART_ROWS
from data_modules.loading.opened import OpenedCohort
from data_modules.raw.checksums import no_meter
from data_modules.raw.locate import find_folder
from data_modules.simulate.release import release_folder, simulate
from mmnar_lightning.baselines.inputs import BaselineInputs, prior_logit
from mmnar_lightning.baselines.registry import Estimator, EstimatorBaseline, NetworkBaseline, find
from mmnar_lightning.config.compose import loggable
from mmnar_lightning.config.experiment import SIMULATED, ConfigError, ExperimentConfig
from mmnar_lightning.console import progress
from mmnar_lightning.encoders.image.stage import ImageFolders
from mmnar_lightning.encoders.stage import embed
from mmnar_lightning.encoders.trainable import item_parts
from mmnar_lightning.model import MMNARModel
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.nn.additive import AdditiveHead
from mmnar_lightning.nn.encoders import ItemParts
from mmnar_lightning.objective import Objective
from mmnar_lightning.rectifier.rectifier import Rectifier

HYPERPARAMETER_KEYS = ("experiment", "seed", "model", "baseline", "objective", "rectifier", "optim", "loader", "embed")
"""Settings that every checkpoint stores as hyperparameters."""


def build_datamodule(config: ExperimentConfig) -> CohortDataModule:
    """Build the datamodule of the dataset; no file is read yet, and a missing paths.cohort raises a `ConfigError`."""
    is_custom = isinstance(config.cohort, CustomCohortConfig)
    return _custom_datamodule(config) if is_custom else _release_datamodule(config)


def _custom_datamodule(config: ExperimentConfig) -> CustomDataModule:
    if not config.paths.cohort:
        raise ConfigError("dataset=custom needs COHORT=/path (or paths.cohort), a folder as docs/cohort.md describes")
    assert isinstance(config.cohort, CustomCohortConfig)
    source = Path(config.paths.cohort)
    return CustomDataModule(source=source, config=config.cohort, **_loading(config, ImageFolders()))


def _release_datamodule(config: ExperimentConfig) -> ReleaseDataModule:
    assert isinstance(config.cohort, ReleaseCohortConfig)
    roots = release_roots(config)
    files = _image_folders(database(config.dataset), roots)
    meter = progress if config.trainer.progress_bar else no_meter
    return ReleaseDataModule(config.dataset, roots=roots, config=config.cohort, meter=meter, **_loading(config, files))


def _loading(config: ExperimentConfig, files: ImageFolders) -> dict[str, Any]:
    """Arguments common to all datamodules."""
    data = Path(config.paths.data)
    return {
        "data": data,
        "loader": config.loader,
        "seed": config.seed,
        "accumulate": config.trainer.accumulate,
        "encode": partial(embed, config=config.embed, data=data, images=files, accelerator=config.trainer.accelerator),
    }


def _image_folders(database: DatabaseSpec, roots: str) -> ImageFolders:
    """Find the image files of a release and their published embeddings; None for either that is not found."""
    parts = [Path(root) for root in roots.split(":") if root]
    projects = (database.image_files, database.image_embeddings)
    pictures, embeddings = (find_folder(parts, project, "files") if project else None for project in projects)
    return ImageFolders(pictures=pictures, embeddings=embeddings)


def release_roots(config: ExperimentConfig) -> str:
    """Roots of the release; without one, the folder of the built-in simulated release, generated on first use."""
    if not config.simulated:
        return config.paths.root(config.dataset)
    knobs = replace(config.simulate, databases=[SIMULATED[config.dataset]])
    target = release_folder(knobs, Path(config.paths.data))
    with progress("simulating subjects", knobs.subjects) as advance:
        simulate(knobs, target, processes=os.cpu_count() or 1, advance=advance)
    return str(target)


def _baseline(config: ExperimentConfig) -> NetworkBaseline | EstimatorBaseline | None:
    """The selected baseline; None for the model itself."""
    return None if config.baseline.name == "none" else find(config.baseline.name)


def is_estimator(config: ExperimentConfig) -> bool:
    """Whether an estimator is trained, which needs no Trainer."""
    return isinstance(_baseline(config), EstimatorBaseline)


def reads_raw_tables(config: ExperimentConfig) -> bool:
    """Whether the estimator takes raw tables, as they are stored."""
    baseline = _baseline(config)
    return isinstance(baseline, EstimatorBaseline) and baseline.raw_tables


def build_module(config: ExperimentConfig, cohort: OpenedCohort) -> MMNARModule:
    """Build the LightningModule for an opened cohort, with newly initialised weights."""
    torch.manual_seed(config.seed)
    plain = loggable(config)
    hyperparameters = {
        **{key: plain[key] for key in HYPERPARAMETER_KEYS},
        "cohort_fingerprint": cohort.fingerprint,
        "modalities": [modality.to_dict() for modality in cohort.modalities],
        "tasks": cohort.tasks,
    }
    model = _build_model(config, cohort)
    loss_offset, rectifier = _build_rectifiers(config, cohort)
    objective = Objective(cohort.tasks, config.objective)
    return MMNARModule(model, objective, config.optim, hyperparameters, loss_offset, rectifier)


def _build_rectifiers(config: ExperimentConfig, cohort: OpenedCohort) -> tuple[Rectifier | None, Rectifier | None]:
    """Build the loss offset and the output rectifier, both unfitted; None for either that is not used."""
    settings = config.rectifier
    if settings.fit == "none":
        return None, None
    for half in ("A", "B") if settings.loss_offset else ("B",):
        if not len(cohort.calibration_half(half)):
            raise ConfigError(
                f"rectifier.fit={settings.fit}: half {half} of the calibration split has no row; raise "
                f"{_calibration_key(config)}, or use rectifier.fit=none"
            )
    rectifier = build_rectifier(config, cohort)
    return build_rectifier(config, cohort) if settings.loss_offset else None, rectifier


def _calibration_key(config: ExperimentConfig) -> str:
    """The setting that the size of the calibration split follows from."""
    return f"cohort.split.{'target_calibration' if config.cohort.split.target_calibration else 'calibration'}"


def build_rectifier(config: ExperimentConfig, cohort: OpenedCohort) -> Rectifier:
    """Build an unfitted rectifier for the tasks, patterns and subjects of a cohort."""
    return Rectifier(
        len(cohort.tasks),
        len(cohort.modalities),
        cohort.patterns,
        int(cohort.arrays.subject.max()) + 1,
        config.rectifier,
    )


def _build_model(config: ExperimentConfig, cohort: OpenedCohort) -> nn.Module:
    """Build the paper's model, or the baseline that replaces it."""
    baseline = _baseline(config)
    if baseline is None:
        model = MMNARModel(
            cohort.modalities,
            len(cohort.tasks),
            config.model,
            auxiliary=config.objective.auxiliary,
            assignable=cohort.varying,
            axes=cohort.axes(config.model.encoder.components),
            items=_item_parts(config, cohort),
            patterns=cohort.patterns,
        )
        if model.additive is not None:
            _fit_additive_head(model.additive, cohort, config.model.additive.inverse_penalty)
        return model
    assert isinstance(baseline, NetworkBaseline)
    return baseline.build(_baseline_inputs(config, cohort), config.baseline)


def _fit_additive_head(head: AdditiveHead, cohort: OpenedCohort, inverse_penalty: float) -> None:
    """Fit the additive head on the train rows; their projected inputs are all in memory at once."""
    train, arrays = cohort.rows("train"), cohort.arrays
    features = torch.cat([head.features(arrays.gather(rows)) for rows in torch.split(train, PART_ROWS)])
    head.fit(features, arrays.label[train], arrays.label_mask[train], inverse_penalty)


def build_estimator(config: ExperimentConfig, cohort: OpenedCohort) -> Estimator:
    """Build the unfitted estimator for an opened cohort."""
    baseline = _baseline(config)
    assert isinstance(baseline, EstimatorBaseline)
    return baseline.build(_baseline_inputs(config, cohort), config.baseline, config.seed)


def _baseline_inputs(config: ExperimentConfig, cohort: OpenedCohort) -> BaselineInputs:
    train, arrays = cohort.rows("train"), cohort.arrays
    prior = prior_logit(arrays.label[train], arrays.label_mask[train])
    return BaselineInputs(
        modalities=cohort.modalities,
        tasks=cohort.tasks,
        prior=prior,
        axes=cohort.axes(config.model.encoder.components),
        items=_item_parts(config, cohort),
        scores=cohort.scores,
    )


def _item_parts(config: ExperimentConfig, cohort: OpenedCohort) -> dict[str, ItemParts]:
    return {entry.name: item_parts(entry, config.embed) for entry in cohort.item_modalities}
