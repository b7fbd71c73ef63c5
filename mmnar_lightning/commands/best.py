"""`mmnar best`: evaluates the test split once, with the best trial of a sweep."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from data_modules import stage
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.console import say
from mmnar_lightning.runs import requests, single
from mmnar_lightning.runs.folders import CONFIG
from mmnar_lightning.runs.started import STARTED, started
from mmnar_lightning.sweeps.space import SWEEP_FILE, read
from mmnar_lightning.sweeps.table import build_table

TESTED = "tested.json"
"""File in a sweep's folder that names the one trial evaluated on the test rows."""


def best(config: ExperimentConfig) -> Path:
    """Evaluate the test rows with the best trial of a sweep; a second trial of the same sweep is never evaluated.

    Returns:
        The folder of the trial.

    Raises:
        ConfigError: when there is no sweep or finished trial, or another trial was evaluated before.
    """
    folder = Path(config.run) if config.run else _newest(config)
    if not (folder / SWEEP_FILE).is_file():
        raise ConfigError(f"run={config.run}: {folder} is not a sweep's folder, it has no {SWEEP_FILE}")
    found = read(folder / SWEEP_FILE)
    chosen = next(iter(build_table(folder, found).filter("best")["trial"]), None)
    if chosen is None:
        raise ConfigError(f"{folder}: no trial has finished")
    path = folder / TESTED
    tested = stage.read_json(path)["trial"] if path.is_file() else chosen
    if tested != chosen:
        raise ConfigError(
            f"{chosen} is now the best trial, but the test rows were evaluated with {tested}; they are evaluated only "
            f"once. `mmnar evaluate run={folder / tested}` shows the results"
        )
    requests.refuse_other_settings(folder / chosen, config, "best")
    stage.write_json(path, {"trial": chosen})
    say(f"best trial: {chosen}")
    return single.evaluate(replace(config, run=str(folder / chosen)))


def _newest(config: ExperimentConfig) -> Path:
    base = Path(config.paths.runs) / "sweeps"
    sweeps = [path.parent for path in base.glob(f"*/{SWEEP_FILE}")]
    if not sweeps:
        raise ConfigError(f"{base} has no sweep; `mmnar sweep` creates one")
    return max(sweeps, key=_started)


def _started(sweep: Path) -> datetime:
    """When a sweep was started: as its folder records it, else the first start of its trials."""
    trials = [path.parent for path in sweep.glob(f"*/{CONFIG}")]
    return started(sweep) if (sweep / STARTED).is_file() or not trials else min(map(started, trials))


def run(config: ExperimentConfig, words: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    best(config)
    return 0
