"""From a configuration to the parts of a run: the only tables from names to classes."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import LearningRateMonitor, RichProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from torch import nn

from data_modules.cohorts.eicu import EICUCohortConfig
from data_modules.cohorts.mimic_iv import MIMICCohortConfig
from data_modules.custom import CustomCohortConfig
from data_modules.datamodule import CohortDataModule, CustomDataModule, EICUDataModule, MIMICDataModule
from data_modules.loader import PART_ROWS
from data_modules.simulate.release import release_folder, simulate
from data_modules.sources.locate import find_folder
from data_modules.sources.mimic_iv import EMBEDDINGS, FILMS
from mmnar_lightning import stopping
from mmnar_lightning.callbacks.checkpoints import AtomicCheckpointIO, checkpoint_callbacks
from mmnar_lightning.callbacks.identity import Identity
from mmnar_lightning.callbacks.loss_offset import LossOffsetFit
from mmnar_lightning.callbacks.pattern_metrics import PatternMetrics
from mmnar_lightning.callbacks.preemption import NoSignals, Preemption
from mmnar_lightning.callbacks.reproducibility import StepSeed
from mmnar_lightning.config import ConfigError, ExperimentConfig, to_plain
from mmnar_lightning.console import progress
from mmnar_lightning.embed.film_stage import FilmFolders
from mmnar_lightning.embed.parts import item_parts
from mmnar_lightning.embed.stage import embed
from mmnar_lightning.folders import LAST, run_id
from mmnar_lightning.launch import Launch, launched
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

LOG_EVERY_STEPS = 50
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
    plain = _loggable(config)
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


def build_pattern_metrics(config: ExperimentConfig, datamodule: CohortDataModule) -> PatternMetrics:
    """The callback that scores every task and pattern."""
    return PatternMetrics(
        datamodule.tasks,
        [modality.name for modality in datamodule.modalities],
        datamodule.patterns,
        config.privacy.min_count,
    )


def build_loggers(config: ExperimentConfig, folder: Path, part: int, known_id: str | None = None) -> list[Logger]:
    """The CSV logger, and W&B (offline unless WANDB_API_KEY is set, or its agent started this trial).

    Args:
        config: the whole configuration.
        folder: of the run.
        part: how often the run was started before; each start writes a CSV file of its own.
        known_id: of a run that is resumed, from its checkpoint.
    """
    loggers: list[Logger] = [CSVLogger(folder, name="logs", version=str(part))]
    if config.wandb.enabled:
        import wandb

        logger = WandbLogger(
            name=f"{config.experiment}/{known_id or run_id(folder)}",
            id=known_id or run_id(folder),
            project=config.wandb.project,
            entity=config.wandb.entity,
            group=config.experiment,
            tags=[*config.wandb.tags, config.dataset, *(["simulated"] if config.simulated else [])],
            save_dir=folder.absolute(),  # the client writes from a process with a folder of its own
            offline=not (os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_SWEEP_ID")),
            config=_loggable(config),
            settings=wandb.Settings(
                console="off", silent=True, disable_git=True, x_disable_meta=True, stop_fn=stopping.stop_for_good
            ),
        )
        # Lightning 2.6 passes a setting that wandb no longer has, which prints a warning at every start.
        logger._wandb_init.pop("anonymous", None)
        loggers.append(logger)
    return loggers


def _loggable(config: ExperimentConfig) -> dict[str, Any]:
    """The configuration without paths of this machine."""
    plain = {key: value for key, value in to_plain(config).items() if key not in {"paths", "run", "resume"}}
    named: dict[str, Any] = _without_folders(plain)
    return named


def _without_folders(value: Any) -> Any:
    """Nested plain values in which an absolute path (of a model, say) is only its last name."""
    if isinstance(value, dict):
        return {key: _without_folders(entry) for key, entry in value.items()}
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return value


def build_trainer(
    config: ExperimentConfig,
    datamodule: CohortDataModule,
    folder: Path,
    metrics: PatternMetrics,
    part: int,
    known_id: str | None = None,
) -> Trainer:
    """The Trainer of a run; `part` and `known_id` are as `build_loggers` takes them."""
    settings = config.trainer
    if settings.strategy == "fsdp" and not torch.cuda.is_available():
        raise ConfigError("trainer.strategy=fsdp shards over GPUs, and there is no CUDA device; use ddp")
    loggers = build_loggers(config, folder, part, known_id)
    callbacks: list[Callback] = [
        Preemption(str(folder / LAST), settings.checkpoint_every_steps),
        Identity(known_id or run_id(folder)),
        StepSeed(config.seed),
        metrics,
        LearningRateMonitor("step"),
    ]
    if config.rectifier.fit != "none" and config.rectifier.loss_offset:
        callbacks.append(LossOffsetFit(config.rectifier, config.objective.pretrain_epochs))
    if settings.progress_bar:
        callbacks.append(RichProgressBar(refresh_rate=10))
    num_batches = len(datamodule.train_dataloader())
    try:
        return _trainer(config, folder, loggers, callbacks, num_batches)
    except MisconfigurationException as error:
        devices = f"trainer.accelerator={settings.accelerator} trainer.devices={settings.devices}"
        raise ConfigError(f"{devices}: {error} Use trainer.accelerator=auto or cpu.") from None


def _devices(config: ExperimentConfig) -> Launch:
    """How many processes there are: what torchrun or srun started, else `trainer.devices` on this machine."""
    launch, asked = launched(), config.trainer.devices
    if launch is None:
        return Launch("mmnar", asked, 1)
    if asked not in {1, launch.devices}:
        raise ConfigError(
            f"trainer.devices={asked}, but {launch.by} started {launch.devices} processes on each machine; leave it out"
        )
    return launch


def _trainer(
    config: ExperimentConfig, folder: Path, loggers: list[Logger], callbacks: list[Callback], num_batches: int
) -> Trainer:
    settings, launch = config.trainer, _devices(config)
    plugins: list[Any] = [AtomicCheckpointIO(), launch.environment]
    trainer = Trainer(
        accelerator=settings.accelerator,
        devices=launch.devices,
        num_nodes=launch.num_nodes,
        strategy=settings.strategy,
        precision=settings.precision,
        max_epochs=settings.max_epochs,
        accumulate_grad_batches=settings.accumulate,
        logger=loggers,
        callbacks=[
            *callbacks,
            *checkpoint_callbacks(folder / "checkpoints", settings.patience, config.objective.pretrain_epochs),
        ],
        plugins=plugins,
        log_every_n_steps=max(1, min(LOG_EVERY_STEPS, num_batches)),
        num_sanity_val_steps=0,
        enable_progress_bar=settings.progress_bar,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )
    trainer._signal_connector = NoSignals(trainer)
    return trainer
