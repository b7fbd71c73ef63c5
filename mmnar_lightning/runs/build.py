"""Builds the datamodule, module or estimator of a configuration; the only mapping from names to classes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data_modules.batch import Batch
from data_modules.cohorts.config import CustomCohortConfig, ReleaseCohortConfig
from data_modules.cohorts.spec import DatabaseSpec
from data_modules.databases.meds.config import MEDSCohortConfig
from data_modules.databases.registry import database
from data_modules.datamodule import CohortDataModule, CustomDataModule, MEDSDataModule, ReleaseDataModule
from data_modules.loading.arrays import PART_ROWS
from data_modules.loading.opened import OpenedCohort
from data_modules.loading.opening import Reading
from data_modules.raw.locate import find_folder
from data_modules.vocabulary import ARRAY_KINDS, Modality
from mmnar_lightning.baselines.folded import FoldedEstimator
from mmnar_lightning.baselines.inputs import BaselineInputs, prior_logit
from mmnar_lightning.baselines.registry import Estimator, EstimatorBaseline, NetworkBaseline, find
from mmnar_lightning.checkpoint import KIND, NETWORK
from mmnar_lightning.config.compose import loggable
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.encoders.image.stage import ImageFolders, custom_images
from mmnar_lightning.encoders.stage import embed
from mmnar_lightning.encoders.trainable import item_parts
from mmnar_lightning.ensemble import FoldEnsemble
from mmnar_lightning.model import MMNARModel
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.nn.additive import AdditiveHead
from mmnar_lightning.nn.additive_fit import Rows, fit_heads
from mmnar_lightning.nn.canonical import canonical_axes
from mmnar_lightning.nn.encoders import ItemParts
from mmnar_lightning.nn.inputs import InputMap, PiecewiseLinear, Projection
from mmnar_lightning.nn.penalties import candidates_of
from mmnar_lightning.objective import Objective
from mmnar_lightning.rectifier.rectifier import Rectifier
from mmnar_lightning.runs import cohorts
from mmnar_lightning.runs.memory import frozen_memory

HYPERPARAMETER_KEYS = ("experiment", "seed", "model", "baseline", "objective", "rectifier", "optim", "loader", "embed")
"""Settings that every checkpoint stores as hyperparameters."""


def build_datamodule(config: ExperimentConfig) -> CohortDataModule:
    """Build the datamodule of the dataset, which builds the same cohort as `mmnar cohort`; only image files are found.

    A missing paths.cohort raises a `ConfigError`.

    Returns:
        The datamodule; no table is read yet.
    """
    if isinstance(config.cohort, CustomCohortConfig):
        source = cohorts.custom_source(config)
        words, files = cohorts.words(config), custom_images(source)
        return CustomDataModule(source=source, config=config.cohort, words=words, **_loading(config, files))
    if isinstance(config.cohort, MEDSCohortConfig):
        root, words = cohorts.meds_root(config.paths), cohorts.words(config)
        return MEDSDataModule(root=root, config=config.cohort, words=words, **_loading(config, ImageFolders()))
    assert isinstance(config.cohort, ReleaseCohortConfig)
    roots = cohorts.release_roots(config)
    return ReleaseDataModule(
        config.dataset,
        roots=roots,
        config=config.cohort,
        meter=cohorts.meter(config),
        **_loading(config, image_folders(database(config.dataset), roots)),
    )


def _loading(config: ExperimentConfig, files: ImageFolders) -> dict[str, Any]:
    """Arguments common to all datamodules."""
    data = Path(config.paths.data)
    return {
        "data": data,
        "loader": config.loader,
        "seed": config.seed,
        "accumulate": config.trainer.accumulate,
        "reading": Reading(
            inner_folds=config.evaluation.inner_folds,
            inner_repeats=config.evaluation.inner_repeats,
            raw_tables=reads_raw_tables(config),
        ),
        "pretrain_epochs": config.objective.pretrain_epochs,
        "encode": partial(embed, config=config.embed, data=data, images=files, accelerator=config.trainer.accelerator),
    }


def image_folders(database: DatabaseSpec, roots: str) -> ImageFolders:
    """Find the image files of a release and their published embeddings; None for either that is not found."""
    parts = [Path(root) for root in roots.split(":") if root]
    projects = (database.image_files, database.image_embeddings)
    pictures, embeddings = (find_folder(parts, project, "files") if project else None for project in projects)
    return ImageFolders(pictures=pictures, embeddings=embeddings)


def _baseline(config: ExperimentConfig) -> NetworkBaseline | EstimatorBaseline | None:
    """The selected baseline; None for the model itself."""
    return None if config.baseline.name == "none" else find(config.baseline.name)


def is_estimator(config: ExperimentConfig) -> bool:
    """Whether an estimator is trained, which needs no Trainer."""
    return isinstance(_baseline(config), EstimatorBaseline)


def reads_raw_tables(config: ExperimentConfig) -> bool:
    """Whether the model takes tables as they are stored: to encode them itself, or because it reads missing values."""
    baseline = _baseline(config)
    if isinstance(baseline, EstimatorBaseline) and baseline.raw_tables:
        return True
    return config.model.encoder.bins > 0 and (baseline is None or "model.encoder.".startswith(baseline.read))


def build_module(config: ExperimentConfig, cohort: OpenedCohort, *, initialised: bool = True) -> MMNARModule:
    """Build the LightningModule for an opened cohort.

    Args:
        config: of the experiment.
        cohort: as the model reads it.
        initialised: whether its additive head is fitted and its memory computed; False if a checkpoint brings all
            weights.

    Returns:
        The module, with newly initialised weights.
    """
    torch.manual_seed(config.seed)
    plain = loggable(config)
    hyperparameters = {
        **{key: plain[key] for key in HYPERPARAMETER_KEYS},
        "cohort_fingerprint": cohort.fingerprint,
        "modalities": [modality.to_dict() for modality in cohort.modalities],
        "tasks": cohort.tasks,
        **({KIND: cohort.kind} if cohort.kind == "value" else {}),
        NETWORK: {
            "beside": _hashed(config, cohort),
            "inner_folds": config.evaluation.inner_folds,
            "inner_repeats": config.evaluation.inner_repeats,
        },
    }
    model = _build_networks(config, cohort, initialised=initialised)
    loss_offset, rectifier = _build_rectifiers(config, cohort)
    objective = Objective(cohort.tasks, config.objective, cohort.kind)
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
        cohort.kind,
    )


def _build_networks(config: ExperimentConfig, cohort: OpenedCohort, *, initialised: bool) -> nn.Module:
    """Build the paper's model, or the baseline that replaces it; with inner folds one for each fold and repeat."""
    baseline = _baseline(config)
    count = config.evaluation.inner_folds * config.evaluation.inner_repeats or 1
    if baseline is None:
        models = _build_models(config, cohort, count)
        members: list[nn.Module] = list(models)
        if initialised:
            _fit_additive_heads(config, cohort, [model.additive for model in models if model.additive is not None])
    else:
        assert isinstance(baseline, NetworkBaseline)
        inputs = baseline_inputs(config, cohort)
        if baseline.needs_memory and initialised:
            inputs = replace(inputs, memory=frozen_memory(config, cohort, inputs.maps))
        members = [baseline.build(inputs, config.baseline) for _ in range(count)]
    return FoldEnsemble(members, config.evaluation.inner_folds) if config.evaluation.inner_folds else members[0]


def _build_models(config: ExperimentConfig, cohort: OpenedCohort, count: int) -> list[MMNARModel]:
    maps = _input_maps(config, cohort)
    return [
        MMNARModel(
            cohort.modalities,
            len(cohort.tasks),
            config.model,
            auxiliary=config.objective.auxiliary,
            assignable=cohort.varying,
            maps=maps,
            items=_item_parts(config, cohort),
            patterns=cohort.patterns,
            beside=_hashed(config, cohort),
        )
        for _ in range(count)
    ]


def _input_maps(config: ExperimentConfig, cohort: OpenedCohort) -> dict[str, InputMap]:
    """The fixed maps of vectors and tables, fitted on train rows; all models of a run share them."""
    encoder = config.model.encoder
    tables = {name: PiecewiseLinear(*found) for name, found in cohort.edges(encoder.bins).items()}
    return {name: Projection(axes) for name, axes in cohort.axes(encoder.components).items()} | tables


def _hashed(config: ExperimentConfig, cohort: OpenedCohort) -> list[str]:
    """Modalities of hashed texts: a rare strong word is in no leading component."""
    declared = [Modality(**entry) for entry in cohort.manifest["modalities"]]
    encoders = {entry.name: config.embed.of(entry) for entry in declared if entry.kind not in ARRAY_KINDS}
    return [name for name, own in encoders.items() if own is not None and own.encoder == "hashed_ngrams"]


def _fit_additive_heads(config: ExperimentConfig, cohort: OpenedCohort, heads: Sequence[AdditiveHead]) -> None:
    """Fit the additive head of each model on its train rows; those columns that are not zero are in memory at once."""
    if not heads:
        return
    arrays, train = cohort.arrays, cohort.rows("train")
    candidates = candidates_of(heads[0], config.model.additive, ())

    def parts(rows: Tensor) -> Iterator[Batch]:
        return (arrays.gather(part) for part in torch.split(rows, PART_ROWS))

    def read(rows: Tensor) -> Rows:
        return Rows.read(heads[0], parts(rows))

    if heads[0].canonical_width:
        labelled_or_not = parts(torch.cat([train, cohort.pretraining_rows]))
        axes = canonical_axes(map(heads[0].columns, labelled_or_not), config.model.additive.canonical)
        for head in heads:
            head.set_canonical(axes)
    pool = read(train)
    if arrays.fold is None:
        held = read(cohort.rows("val")) if len(candidates) > 1 else pool
        fit_heads(heads, [(pool, held)], candidates, cohort.kind)
        return
    fold, count = arrays.fold[train].numpy(), config.evaluation.inner_folds
    held_out = [fold[:, number // count] == number % count for number in range(len(heads))]
    fit_heads(heads, [(pool.select(~own), pool.select(own)) for own in held_out], candidates, cohort.kind)


def build_estimator(config: ExperimentConfig, cohort: OpenedCohort) -> Estimator:
    """Build the unfitted estimator for an opened cohort; with inner folds, of one copy for each fold and repeat."""
    baseline = _baseline(config)
    assert isinstance(baseline, EstimatorBaseline)
    build = partial(baseline.build, baseline_inputs(config, cohort), config.baseline)
    count = config.evaluation.inner_folds
    return FoldedEstimator(build, cohort.tasks, count, config.seed, cohort.kind) if count else build(config.seed)


def baseline_inputs(config: ExperimentConfig, cohort: OpenedCohort) -> BaselineInputs:
    """What a baseline is built from."""
    train, arrays = cohort.rows("train"), cohort.arrays
    prior = torch.zeros(len(cohort.tasks))  # standardised values have a mean of 0
    if cohort.kind == "binary":
        prior = prior_logit(arrays.label[train], arrays.label_mask[train])
    return BaselineInputs(
        modalities=cohort.modalities,
        tasks=cohort.tasks,
        kind=cohort.kind,
        prior=prior,
        maps=_input_maps(config, cohort),
        items=_item_parts(config, cohort),
        scores=cohort.scores,
        points=cohort.points,
        beside=_hashed(config, cohort),
        additive=config.model.additive,
    )


def _item_parts(config: ExperimentConfig, cohort: OpenedCohort) -> dict[str, ItemParts]:
    return {entry.name: item_parts(entry, config.embed) for entry in cohort.item_modalities}
