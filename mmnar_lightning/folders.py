"""Folders of runs: where a new one goes, which is the newest, and whether one may be resumed."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from data_modules.stage import digest
from mmnar_lightning.config import ConfigError, ExperimentConfig, PathsConfig, load, save, to_plain

RUN_ID_VARIABLE = "MMNAR_RUN_ID"
CONFIG, LAST, BEST, FIT, PREDICTIONS, RESULTS, DONE = (
    "config.yaml",
    "checkpoints/last.ckpt",
    "checkpoints/best.ckpt",
    "fit.json",
    "predictions.parquet",
    "results.json",
    "DONE",
)
CHILDREN = "children.json"
"""Which runs a parent consists of; no other folder has it."""
FREE_KEYS = (
    "resume",
    "run",
    "out",
    "evaluate",
    "paths",
    "trainer.progress_bar",
    "wandb",
    "evaluation",
    "privacy",
    "sweep",
)
"""Settings that may differ between a run and its resumption: they do not change the weights."""
FIXED_KEYS = ("evaluation.protocol",)
"""Exceptions to them."""


def new_run(config: ExperimentConfig) -> Path:
    """Make the folder of a new run; processes that the launcher starts get the same one."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    name = f"{stamp}-{digest(_fixed(to_plain(config)))[:6]}{'-simulated' if config.simulated else ''}"
    parent = Path(config.paths.runs) / config.experiment
    given = os.environ.get(RUN_ID_VARIABLE)
    launched = Path(given) if given and len(Path(given).parts) > 1 else None
    names = [given] if given else [name, *(f"{name}-{number}" for number in range(2, 100))]
    try:
        folder = launched or next(parent / free for free in names if given or not (parent / free).exists())
        folder.mkdir(parents=True, exist_ok=given is not None)
        os.environ[RUN_ID_VARIABLE] = given or folder.name
        save(config, folder / CONFIG)
    except OSError as error:
        raise ConfigError(f"paths.runs={config.paths.runs}: {parent} cannot be written ({error.strerror})") from error
    return folder


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


def run_to_resume(config: ExperimentConfig, needed: str = LAST) -> Path:
    """The run that `resume` names, after checking that it was made with the same settings.

    Args:
        config: the settings of now.
        needed: the file that tells a run that can be resumed.

    Raises:
        ConfigError: with the settings that differ.
    """
    folder = newest_run(config, needed) if config.resume == "last" else Path(config.resume)
    if not (folder / needed).is_file():
        raise ConfigError(f"resume={config.resume}: {folder} holds no {needed}")
    then = OmegaConf.to_container(OmegaConf.load(folder / CONFIG))
    assert isinstance(then, dict)
    before, now = flatten(_fixed(then)), flatten(_fixed(to_plain(config)))
    changed = [
        f"{key}: {before.get(key)} then, {now.get(key)} now"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    if changed:
        raise ConfigError(f"{folder} was made with other settings, so it cannot be resumed ({'; '.join(changed)})")
    return folder


def _fixed(plain: Mapping[Any, Any]) -> dict[str, Any]:
    flat = flatten(plain)
    return {key: value for key, value in flat.items() if key in FIXED_KEYS or not key.startswith(FREE_KEYS)}


def flatten(plain: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by their full keys.

    >>> flatten({"optim": {"lr": 0.1}, "seed": 1})
    {'optim.lr': 0.1, 'seed': 1}
    """
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
