"""From a configuration to datamodule, module and estimator: the only tables from names to classes."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from data_modules.cohorts.eicu import EICUCohortConfig
from data_modules.cohorts.mimic_iv import MIMICCohortConfig
from data_modules.custom import CustomCohortConfig
from data_modules.datamodule import CohortDataModule, CustomDataModule, EICUDataModule, MIMICDataModule
from data_modules.loader import PART_ROWS
from data_modules.simulate.release import release_folder, simulate
from data_modules.sources.locate import find_folder
from data_modules.sources.mimic_iv import EMBEDDINGS, FILMS
from mmnar_lightning.compose import loggable
from mmnar_lightning.config import ConfigError, ExperimentConfig
from mmnar_lightning.console import progress
from mmnar_lightning.embed.film_stage import FilmFolders
from mmnar_lightning.embed.parts import item_parts
from mmnar_lightning.embed.stage import embed
from mmnar_lightning.model import MMNARModel
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.nn.additive import AdditiveHead
from mmnar_lightning.nn.encoders import ItemParts
from mmnar_lightning.objective import Objective
from mmnar_lightning.rectifier.estimate import Scale
from mmnar_lightning.rectifier.rectifier import Rectifier
from mmnar_lightning.rivals.problem import Problem, prior_logit
from mmnar_lightning.rivals.registry import RIVALS, Estimator, Fitted, Network
from mmnar_lightning.unread import refuse_unread

TOLD = ("experiment", "seed", "model", "rival", "objective", "rectifier", "optim", "loader", "embed")
"""Settings that every checkpoint tells."""
RELEASES = {"mimic": "mimic_iv", "eicu": "eicu"}
"""Dataset -> the database of its release."""


def build_datamodule(config: ExperimentConfig) -> CohortDataModule:
    """The datamodule of the dataset; of its files nothing is read yet.

    Raises:
        ConfigError: when the dataset's folder was not named.
    """
    common: dict[str, Any] = {"data": Path(config.paths.data), "loader": config.loader, "seed": config.seed}
    cohort, films = config.cohort, FilmFolders()
    datamodule: CohortDataModule
    if isinstance(cohort, MIMICCohortConfig):
        roots = release_roots(config)
        parts = [Path(root) for root in roots.split(":") if root]
        films = FilmFolders(
            pictures=find_folder(parts, FILMS, "files"), embeddings=find_folder(parts, EMBEDDINGS, "files")
        )
        datamodule = MIMICDataModule(roots=roots, config=cohort, **common)
    elif isinstance(cohort, EICUCohortConfig):
        datamodule = EICUDataModule(roots=release_roots(config), config=cohort, **common)
    else:
        assert isinstance(cohort, CustomCohortConfig)
        if not config.paths.cohort:
            raise ConfigError(
                "dataset=custom needs COHORT=/path (or paths.cohort), a folder as docs/cohort.md describes"
            )
        datamodule = CustomDataModule(source=Path(config.paths.cohort).expanduser(), config=cohort, **common)
    datamodule.accumulate = config.trainer.accumulate
    datamodule.vectors = lambda folder: embed(folder, config.embed, Path(config.paths.data), films)
    return datamodule


def release_roots(config: ExperimentConfig) -> str:
    """Where the release lies; where none was named, the built-in simulated one, generated on first use."""
    if not config.simulated:
        return config.paths.mimic_root if config.dataset == "mimic" else config.paths.eicu_root
    knobs = replace(config.simulate, sources=[RELEASES[config.dataset]])
    target = release_folder(knobs, Path(config.paths.data))
    with progress("simulating subjects", knobs.subjects) as advance:
        simulate(knobs, target, processes=os.cpu_count() or 1, advance=advance)
    return str(target)


def is_fitted_at_once(config: ExperimentConfig) -> bool:
    """Whether what is trained is an estimator, which needs no Trainer."""
    return isinstance(RIVALS.get(config.rival.name), Fitted)


def reads_raw_tables(config: ExperimentConfig) -> bool:
    """Whether the estimator wants tables as they were stored."""
    rival = RIVALS.get(config.rival.name)
    return isinstance(rival, Fitted) and rival.raw_tables


def build_module(config: ExperimentConfig, datamodule: CohortDataModule) -> MMNARModule:
    """The LightningModule for an opened cohort, with freshly drawn weights.

    Raises:
        ConfigError: for a setting that the chosen model would ignore.
    """
    refuse_unread(config)
    torch.manual_seed(config.seed)
    plain = loggable(config)
    hyperparameters = {
        **{key: plain[key] for key in TOLD},
        "cohort_fingerprint": datamodule.manifest["fingerprint"],
        "modalities": [modality.to_dict() for modality in datamodule.modalities],
        "tasks": datamodule.tasks,
    }
    model = _build_model(config, datamodule)
    loss_offset, rectifier = _build_rectifiers(config, datamodule)
    objective = Objective(datamodule.tasks, config.objective)
    return MMNARModule(model, objective, config.optim, hyperparameters, loss_offset, rectifier)


def _build_rectifiers(
    config: ExperimentConfig, datamodule: CohortDataModule
) -> tuple[Rectifier | None, Rectifier | None]:
    """The offset of the loss and the rectifier of the output, neither fitted yet; None where there is none."""
    settings = config.rectifier
    if settings.fit == "none":
        return None, None
    for half in ("A", "B") if settings.loss_offset else ("B",):
        if not len(datamodule.calibration_half(half)):
            raise ConfigError(
                f"rectifier.fit={settings.fit}: half {half} of the calibration split has no row; raise "
                "cohort.split.calibration, or use rectifier.fit=none"
            )
    rectifier = build_rectifier(config, datamodule)
    return build_rectifier(config, datamodule, "logit") if settings.loss_offset else None, rectifier


def build_rectifier(config: ExperimentConfig, datamodule: CohortDataModule, scale: Scale | None = None) -> Rectifier:
    """A rectifier of a cohort's tasks, patterns and subjects, not fitted yet; the scale is that of the settings."""
    return Rectifier(
        len(datamodule.tasks),
        len(datamodule.modalities),
        datamodule.patterns,
        int(datamodule.arrays.subject.max()) + 1,
        config.rectifier,
        scale or config.rectifier.scale,
    )


def _build_model(config: ExperimentConfig, datamodule: CohortDataModule) -> nn.Module:
    """The paper's model, or the rival in its place."""
    rival = RIVALS.get(config.rival.name)
    if rival is None:
        model = MMNARModel(
            datamodule.modalities,
            len(datamodule.tasks),
            config.model,
            auxiliary=config.objective.auxiliary,
            assignable=datamodule.varying,
            axes=datamodule.axes(config.model.encoder.components),
            items=_item_parts(config, datamodule),
            patterns=datamodule.patterns,
        )
        if model.additive is not None:
            _start(model.additive, datamodule, config.model.additive.inverse_penalty)
        return model
    assert isinstance(rival, Network)
    return rival.build(_problem(config, datamodule), config.rival)


def _start(head: AdditiveHead, datamodule: CohortDataModule, inverse_penalty: float) -> None:
    """Fit the additive head on the train rows, whose projected inputs are held at once."""
    train, arrays = datamodule.rows("train"), datamodule.arrays
    features = torch.cat([head.features(arrays.gather(rows)) for rows in torch.split(train, PART_ROWS)])
    head.start(features, arrays.label[train], arrays.label_mask[train], inverse_penalty)


def build_estimator(config: ExperimentConfig, datamodule: CohortDataModule) -> Estimator:
    """The unfitted estimator of an opened cohort.

    Raises:
        ConfigError: for a setting that it would ignore.
    """
    refuse_unread(config)
    rival = RIVALS[config.rival.name]
    assert isinstance(rival, Fitted)
    return rival.build(_problem(config, datamodule), config.rival, config.seed)


def _problem(config: ExperimentConfig, datamodule: CohortDataModule) -> Problem:
    train, arrays = datamodule.rows("train"), datamodule.arrays
    prior = prior_logit(arrays.label[train], arrays.label_mask[train])
    return Problem(
        modalities=datamodule.modalities,
        tasks=datamodule.tasks,
        prior=prior,
        axes=datamodule.axes(config.model.encoder.components),
        items=_item_parts(config, datamodule),
        scores=datamodule.scores,
    )


def _item_parts(config: ExperimentConfig, datamodule: CohortDataModule) -> dict[str, ItemParts]:
    return {entry.name: item_parts(entry, config.embed) for entry in datamodule.item_modalities}
