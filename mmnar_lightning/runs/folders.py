"""Run folders: creates new ones, finds the newest, and checks whether one can be resumed."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from data_modules import files, locks
from data_modules.stage import digest
from data_modules.vocabulary import check_name
from mmnar_lightning import tracebacks
from mmnar_lightning.config.compose import flatten, load, save, to_plain
from mmnar_lightning.config.experiment import REPLACEABLE, ConfigError, ExperimentConfig, PathsConfig
from mmnar_lightning.config.layers import refuse_renamed
from mmnar_lightning.config.yaml_files import read_yaml
from mmnar_lightning.console import say, warn
from mmnar_lightning.distributed import signals
from mmnar_lightning.distributed.launch import detect_launch, is_launched_by_parent
from mmnar_lightning.runs.started import record, started

RUN_ID_VARIABLE = "MMNAR_RUN_ID"
CONFIG, LAST, PREVIOUS, BEST, FIT, PREDICTIONS, RESULTS, DONE = (
    "config.yaml",
    "checkpoints/last.ckpt",
    "checkpoints/previous.ckpt",
    "checkpoints/best.ckpt",
    "fit.json",
    "predictions.parquet",
    "results.json",
    "DONE",
)
PUBLIC = "results.public.json"
"""The results that may be shared (docs/privacy.md)."""
CHILDREN = "children.json"
"""The runs of a parent; no other folder has this file."""
LOCK, OPENING = ".lock", ".opening.lock"
"""Locks: held while a process trains the run; held while a process compares its settings with those of the run."""
FREE_KEYS = (
    "resume", "run", "out", "to", "evaluate", "cohort.verify", "paths", "trainer.accelerator",
    "trainer.checkpoint_every_steps", "trainer.devices", "trainer.profiler", "trainer.progress_bar", "trainer.strategy",
    "loggers", "wandb", "evaluation", "diagnostics", "privacy", "sweep", "table",
)  # fmt: skip
"""Settings that may differ when a run is resumed, because they do not change what is trained."""
FIXED_KEYS = ("evaluation.protocol", "evaluation.inner_folds", "evaluation.inner_repeats")
"""Exceptions to `FREE_KEYS`."""
NEW = "new"
"""The value of `resume` that always starts a new run."""


@contextmanager
def opened(config: ExperimentConfig, *needed: str) -> Iterator[Path]:
    """Open and lock the folder of a command, the same on all ranks: of the run that it resumes, or a new one.

    A run that cannot be resumed, or that another process holds, is a `ConfigError`. The traceback of a defect in the
    body is saved in the folder.

    Args:
        config: the current settings.
        needed: file names; a run with any of them can be resumed.

    Yields:
        The folder.
    """
    folder = _agree_on_folder(config, needed)
    try:
        with _held(folder) if _is_first() else nullcontext():
            os.environ[RUN_ID_VARIABLE] = str(folder.resolve())
            with signals.restored():
                yield folder
    except BaseException as error:
        if tracebacks.is_defect(error):
            tracebacks.save(error, folder)
        raise
    finally:
        forget_run()


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(locks.locked(folder / LOCK, wait=False))
        except locks.HeldError:
            raise ConfigError(f"{folder} is being trained by another process; wait for it, or stop it") from None
        yield


def _is_first() -> bool:
    """Whether this process chooses the folder for all ranks."""
    from mmnar_lightning.distributed.collectives import rank

    return rank() == 0 and not is_launched_by_parent()


def _agree_on_folder(config: ExperimentConfig, needed: tuple[str, ...]) -> Path:
    if is_launched_by_parent():
        return Path(os.environ[RUN_ID_VARIABLE])
    from mmnar_lightning.distributed.collectives import broadcast_from_rank_zero

    folder = _choose(config, needed) if _is_first() else Path()
    return broadcast_from_rank_zero(folder) if detect_launch() else folder


def _choose(config: ExperimentConfig, needed: tuple[str, ...]) -> Path:
    if config.resume not in {"", NEW}:
        return run_to_resume(config, *needed)
    if RUN_ID_VARIABLE in os.environ:
        return named_run(config)
    if config.resume == NEW:
        return new_run(config)
    return unfinished_run(config, *needed) or new_run(config)


def unfinished_run(config: ExperimentConfig, *needed: str) -> Path | None:
    """The newest run with the same settings that is neither finished nor being trained; None if there is none."""
    parent = Path(config.paths.runs) / config.experiment
    found = [folder for folder in parent.glob(f"*-{fingerprint(config)[:6]}*") if (folder / CONFIG).is_file()]
    for folder in sorted(found, key=started, reverse=True):
        is_parent = (folder / CHILDREN).is_file()
        resumable = any((folder / name).is_file() for name in needed) and is_parent == (CHILDREN in needed)
        if not resumable or (folder / DONE).is_file() or _differing(folder, config):
            continue
        if is_free(folder):
            return folder
        warn(f"{folder} has the same settings and is being trained by another process, so it is not resumed")
    return None


def is_free(folder: Path) -> bool:
    """Whether no other process trains a run."""
    try:
        with locks.locked(folder / LOCK, wait=False):
            return True
    except locks.HeldError:
        return False


def fingerprint(config: ExperimentConfig) -> str:
    """A digest of the settings that may not differ when a run is resumed."""
    return digest(_fixed(to_plain(config)))


def named_run(config: ExperimentConfig) -> Path:
    """Open the run that the environment names, so that every start of a job or trial works in the same folder.

    An existing run must have the same settings, as in `run_to_resume`. Several jobs may open it at the same time.

    Returns:
        The folder.

    Raises:
        ConfigError: when the folder cannot be written, or, from `_accept`, with the settings that differ.
    """
    name = os.environ[RUN_ID_VARIABLE]
    folder = Path(name)
    if len(folder.parts) < 2:
        check_name(RUN_ID_VARIABLE, name)
        folder = Path(config.paths.runs) / config.experiment / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locks.locked(folder / OPENING):
            if (folder / CONFIG).is_file():
                _accept(folder, config)
            else:
                _write_config(config, folder)
    except OSError as error:
        raise ConfigError(f"{RUN_ID_VARIABLE}={name}: {folder} cannot be written ({error.strerror})") from error
    return folder


def new_run(config: ExperimentConfig) -> Path:
    """Create the folder of a new run.

    Returns:
        The folder, with config.yaml.

    Raises:
        ConfigError: if it cannot be written.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    name = f"{stamp}-{fingerprint(config)[:6]}{'-simulated' if config.simulated else ''}"
    parent = Path(config.paths.runs) / config.experiment
    names = [name, *(f"{name}-{number}" for number in range(2, 100))]
    try:
        folder = next(parent / free for free in names if not (parent / free).exists())
        folder.mkdir(parents=True)
        _write_config(config, folder)
    except OSError as error:
        raise ConfigError(f"paths.runs={config.paths.runs}: {parent} cannot be written ({error.strerror})") from error
    return folder


def _write_config(config: ExperimentConfig, folder: Path) -> None:
    """Write config.yaml atomically, because the next start compares its settings with it; before it, the time."""
    record(folder)
    save(config, folder / f"{CONFIG}.partial")
    files.flush(folder / f"{CONFIG}.partial")
    (folder / f"{CONFIG}.partial").replace(folder / CONFIG)


@contextmanager
def child_run(folder: Path) -> Iterator[None]:
    """Assign this folder, inside the parent's, to the next run and to the processes that its launcher starts."""
    os.environ[RUN_ID_VARIABLE] = str(folder)
    try:
        yield
    finally:
        forget_run()


def parent_of_launched() -> Path | None:
    """The parent's folder in a process that the launcher started inside a child run; None in any other."""
    folder = Path(os.environ.get(RUN_ID_VARIABLE, ""))
    return folder.parent if len(folder.parts) > 1 else None


def run_id(folder: Path) -> str:
    """The unique name of a run; a child's is prefixed with its parent's."""
    return f"{folder.parent.name}-{folder.name}" if (folder.parent / CHILDREN).is_file() else folder.name


def forget_run() -> None:
    """Clear the folder name, so that the next run of this process gets its own folder."""
    os.environ.pop(RUN_ID_VARIABLE, None)


def settings_of(folder: Path, config: ExperimentConfig) -> ExperimentConfig:
    """The settings that a run was trained with, updated with the current ones that do not change what is scored.

    These are paths, devices, the progress bar, callbacks and loggers, `evaluation` but for the inner folds, `privacy`
    and `wandb`. A blend and the gains of parts are reported if either asks for them.

    Returns:
        The merged settings.
    """
    saved = load([f"experiment={folder / CONFIG}"])
    usual = vars(PathsConfig())
    moved = {key: value for key, value in vars(config.paths).items() if value != usual[key]}
    here = {key: getattr(config.trainer, key) for key in ("accelerator", "devices", "progress_bar")}
    trained = {key: getattr(saved.evaluation, key) for key in ("inner_folds", "inner_repeats")}
    blend = saved.evaluation.blend or config.evaluation.blend
    parts = saved.diagnostics.parts or config.diagnostics.parts
    return replace(
        saved,
        paths=replace(saved.paths, **moved),
        trainer=replace(saved.trainer, **here),
        evaluation=replace(config.evaluation, blend=blend, **trained),
        diagnostics=replace(saved.diagnostics, parts=parts),
        privacy=config.privacy,
        wandb=config.wandb,
        callbacks=config.callbacks,  # classes that only the folder names are not imported
        loggers=config.loggers,
    )


def newest_run(config: ExperimentConfig, *needed: str) -> Path:
    """The run of an experiment, with any of the needed files, that was started last; parents only for children.json.

    Args:
        config: `paths.runs` and the experiment.
        needed: names of files.

    Returns:
        Its folder.

    Raises:
        ConfigError: if there is none.
    """
    parent = Path(config.paths.runs) / config.experiment
    found = [
        path.parent
        for path in parent.glob(f"*/{CONFIG}")
        if any((path.parent / name).is_file() for name in needed)
        and (CHILDREN in needed or not (path.parent / CHILDREN).is_file())
    ]
    if not found:
        raise ConfigError(f"{parent} has no run with {' or '.join(needed)}; train one first, or give its folder")
    return max(found, key=started)


def run_to_resume(config: ExperimentConfig, *needed: str) -> Path:
    """The run that `resume` names, after checking that it was started with the same settings.

    Settings that `resume_with` names may differ; they replace those of the run. Any other difference raises a
    `ConfigError` in `_accept`.

    Args:
        config: the current settings.
        needed: file names; a run with any of them can be resumed.

    Returns:
        Its folder.

    Raises:
        ConfigError: when the folder has none of the files.
    """
    folder = newest_run(config, *needed) if config.resume == "last" else Path(config.resume)
    if not any((folder / name).is_file() for name in needed):
        raise ConfigError(f"resume={config.resume}: {folder} has no {' or '.join(needed)}")
    _accept(folder, config)
    return folder


def _accept(folder: Path, config: ExperimentConfig) -> None:
    """Accept the current settings for an existing run, or refuse those that differ or were renamed."""
    refuse_renamed(_saved(folder), str(folder / CONFIG))
    changed = _differing(folder, config)
    refused = [line for key, line in changed.items() if not key.startswith(tuple(config.resume_with))]
    if refused:
        replaceable = [key for key in changed if key.startswith(REPLACEABLE)]
        hint = f"; resume_with=[{','.join(replaceable)}] applies the current values of these" if replaceable else ""
        raise ConfigError(
            f"{folder} was started with other settings, so it cannot be resumed ({'; '.join(refused)}){hint}"
        )
    if changed:
        say(f"current settings replace those of {folder}: {'; '.join(changed.values())}")
        (folder / CONFIG).replace(folder / f"config-until-start-{len(list(folder.glob('logs/*')))}.yaml")
        _write_config(config, folder)


def _differing(folder: Path, config: ExperimentConfig) -> dict[str, str]:
    """Key -> old and current value of each setting that differs from those of a run."""
    saved = OmegaConf.to_container(_saved(folder))
    assert isinstance(saved, dict)
    before, now = flatten(_fixed(saved)), flatten(_fixed(to_plain(config)))
    return {
        key: f"{key}: {before.get(key)} before, {now.get(key)} now"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    }


def _saved(folder: Path) -> DictConfig:
    """The settings that a run was started with, from its folder."""
    saved = OmegaConf.create(read_yaml(folder / CONFIG))
    assert isinstance(saved, DictConfig)
    return saved


def _fixed(plain: Mapping[Any, Any]) -> dict[str, Any]:
    flat = flatten(plain)
    return {key: value for key, value in flat.items() if key in FIXED_KEYS or not key.startswith(FREE_KEYS)}
