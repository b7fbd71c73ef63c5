"""Folders of runs: where a new one goes, which is the newest, and whether one may be resumed."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from data_modules.errors import UserError
from data_modules.stage import digest
from mmnar_lightning import tracebacks
from mmnar_lightning.config.compose import flatten, load, refuse_renamed, save, to_plain
from mmnar_lightning.config.experiment import REPLACEABLE, ConfigError, ExperimentConfig, PathsConfig
from mmnar_lightning.console import say
from mmnar_lightning.distributed.collectives import broadcast_from_rank_zero, rank
from mmnar_lightning.distributed.launch import detect_launch, is_launched_by_parent

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
CHILDREN = "children.json"
"""Which runs a parent consists of; no other folder has it."""
LOCK, OPENING = ".lock", ".opening.lock"
"""Held by the process that trains the run; by one that compares its settings with those of the run."""
FREE_KEYS = (
    "resume",
    "run",
    "out",
    "evaluate",
    "paths",
    "trainer.accelerator",
    "trainer.checkpoint_every_steps",
    "trainer.devices",
    "trainer.progress_bar",
    "trainer.strategy",
    "wandb",
    "evaluation",
    "privacy",
    "sweep",
)
"""Settings that may differ between a run and its resumption: they do not change what is trained."""
FIXED_KEYS = ("evaluation.protocol",)
"""Exceptions to them."""
NEW = "new"
"""The value of `resume` that starts a new run in any case."""


@contextmanager
def opened(config: ExperimentConfig, *needed: str) -> Iterator[Path]:
    """The folder that a command works in, on all ranks the same: of the run that it continues, or a new one.

    While it works there, no other command continues that run.

    Args:
        config: the settings of now.
        needed: files, one of which tells a run that can be continued.

    Raises:
        ConfigError: when the run that `resume` names cannot be continued.
    """
    folder = _agreed(config, needed)
    lock = FileLock(folder / LOCK)
    try:
        if _is_first():
            lock.acquire(timeout=0)
        os.environ[RUN_ID_VARIABLE] = str(folder.resolve())
        yield folder
    except Timeout:
        raise ConfigError(f"{folder} is being trained by another process; wait for it, or end it") from None
    except Exception as error:
        if not isinstance(error, UserError):
            tracebacks.save(error, folder)
        raise
    finally:
        forget_run()
        lock.release()


def _is_first() -> bool:
    """Whether this process decides for all ranks."""
    return rank() == 0 and not is_launched_by_parent()


def _agreed(config: ExperimentConfig, needed: tuple[str, ...]) -> Path:
    if is_launched_by_parent():
        return Path(os.environ[RUN_ID_VARIABLE])
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
    """The newest run with the same settings that nobody finished and nobody trains now."""
    parent = Path(config.paths.runs) / config.experiment
    for folder in sorted(parent.glob(f"*-{_fingerprint(config)}*"), reverse=True):
        is_parent = (folder / CHILDREN).is_file()
        begun = any((folder / name).is_file() for name in needed) and is_parent == (CHILDREN in needed)
        if begun and not (folder / DONE).is_file() and not _differing(folder, config) and _is_free(folder):
            return folder
    return None


def _is_free(folder: Path) -> bool:
    try:
        with FileLock(folder / LOCK).acquire(timeout=0):
            return True
    except Timeout:
        return False


def _fingerprint(config: ExperimentConfig) -> str:
    return digest(_fixed(to_plain(config)))[:6]


def named_run(config: ExperimentConfig) -> Path:
    """The run that the environment names: every start of a job, or of a trial, works in the same folder.

    Where it was begun before, it must have been so with the same settings, as in `run_to_resume`; several jobs may
    open it at the same time.

    Raises:
        ConfigError: with the settings that differ.
    """
    given = os.environ[RUN_ID_VARIABLE]
    folder = Path(given) if len(Path(given).parts) > 1 else Path(config.paths.runs) / config.experiment / given
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / OPENING):
            if (folder / CONFIG).is_file():
                _accept(folder, config)
            else:
                _write_config(config, folder)
    except OSError as error:
        raise ConfigError(f"{RUN_ID_VARIABLE}={given}: {folder} cannot be written ({error.strerror})") from error
    return folder


def new_run(config: ExperimentConfig) -> Path:
    """Make the folder of a new run."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    name = f"{stamp}-{_fingerprint(config)}{'-simulated' if config.simulated else ''}"
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
    """Write it whole or not at all: the next start compares itself with it."""
    save(config, folder / f"{CONFIG}.partial")
    (folder / f"{CONFIG}.partial").replace(folder / CONFIG)


@contextmanager
def child_run(folder: Path) -> Iterator[None]:
    """Let the next run have this folder, inside its parent's; processes that the launcher starts get the same one."""
    os.environ[RUN_ID_VARIABLE] = str(folder)
    try:
        yield
    finally:
        forget_run()


def parent_of_launched() -> Path | None:
    """The parent's folder in a process that the launcher started inside a child run; None in any other."""
    given = Path(os.environ.get(RUN_ID_VARIABLE, ""))
    return given.parent if len(given.parts) > 1 else None


def run_id(folder: Path) -> str:
    """The name of a run among all runs; that of a child begins with its parent's."""
    return f"{folder.parent.name}-{folder.name}" if (folder.parent / CHILDREN).is_file() else folder.name


def forget_run() -> None:
    """Let the next run of this process have a folder of its own."""
    os.environ.pop(RUN_ID_VARIABLE, None)


def settings_of(folder: Path, config: ExperimentConfig) -> ExperimentConfig:
    """The settings that a run was trained with; of the given ones only those that do not change what is scored.

    These are where things lie, devices, `evaluation`, `privacy` and `wandb`.
    """
    saved = load([f"experiment={folder / CONFIG}"])
    usual = vars(PathsConfig())
    moved = {key: value for key, value in vars(config.paths).items() if value != usual[key]}
    here = {key: getattr(config.trainer, key) for key in ("accelerator", "devices", "progress_bar")}
    return replace(
        saved,
        paths=replace(saved.paths, **moved),
        trainer=replace(saved.trainer, **here),
        evaluation=config.evaluation,
        privacy=config.privacy,
        wandb=config.wandb,
    )


def newest_run(config: ExperimentConfig, *needed: str) -> Path:
    """The newest run of an experiment that holds one of some files; parents count only where they are asked for."""
    parent = Path(config.paths.runs) / config.experiment
    found = sorted(
        path.parent
        for path in parent.glob(f"*/{CONFIG}")
        if any((path.parent / name).is_file() for name in needed)
        and (CHILDREN in needed or not (path.parent / CHILDREN).is_file())
    )
    if not found:
        raise ConfigError(f"{parent} holds no run with {' or '.join(needed)}; train one first, or name its folder")
    return found[-1]


def run_to_resume(config: ExperimentConfig, *needed: str) -> Path:
    """The run that `resume` names, after checking that it was made with the same settings.

    Settings that `resume_with` names may differ; from now on they are the run's.

    Args:
        config: the settings of now.
        needed: files, one of which tells a run that can be resumed.

    Raises:
        ConfigError: with the settings that differ.
    """
    folder = newest_run(config, *needed) if config.resume == "last" else Path(config.resume)
    if not any((folder / name).is_file() for name in needed):
        raise ConfigError(f"resume={config.resume}: {folder} holds no {' or '.join(needed)}")
    _accept(folder, config)
    return folder


def _accept(folder: Path, config: ExperimentConfig) -> None:
    """Let a run that was begun go on with the settings of now, or refuse those that differ or were renamed."""
    refuse_renamed(_saved(folder), str(folder / CONFIG))
    changed = _differing(folder, config)
    refused = [line for key, line in changed.items() if not key.startswith(tuple(config.resume_with))]
    if refused:
        replaceable = [key for key in changed if key.startswith(REPLACEABLE)]
        hint = f"; resume_with=[{','.join(replaceable)}] takes what it names from now" if replaceable else ""
        raise ConfigError(
            f"{folder} was made with other settings, so it cannot be resumed ({'; '.join(refused)}){hint}"
        )
    if changed:
        say(f"settings of now replace those of {folder}: {'; '.join(changed.values())}")
        (folder / CONFIG).replace(folder / f"config-until-start-{len(list(folder.glob('logs/*')))}.yaml")
        _write_config(config, folder)


def _differing(folder: Path, config: ExperimentConfig) -> dict[str, str]:
    """Keys of settings that a run was made with otherwise -> what they were and are."""
    then = OmegaConf.to_container(_saved(folder))
    assert isinstance(then, dict)
    before, now = flatten(_fixed(then)), flatten(_fixed(to_plain(config)))
    return {
        key: f"{key}: {before.get(key)} then, {now.get(key)} now"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    }


def _saved(folder: Path) -> DictConfig:
    """The settings that a run was begun with, as they stand in its folder."""
    saved = OmegaConf.load(folder / CONFIG)
    assert isinstance(saved, DictConfig)
    return saved


def _fixed(plain: Mapping[Any, Any]) -> dict[str, Any]:
    flat = flatten(plain)
    return {key: value for key, value in flat.items() if key in FIXED_KEYS or not key.startswith(FREE_KEYS)}
