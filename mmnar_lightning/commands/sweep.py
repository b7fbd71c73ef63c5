"""`mmnar sweep`: many trials of one experiment, searched by W&B or, offline, by Optuna."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from data_modules import locks, stage
from data_modules.vocabulary import check_name
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.config.places import sweep_file
from mmnar_lightning.console import say, show
from mmnar_lightning.report.style import save
from mmnar_lightning.runs.started import record
from mmnar_lightning.sweeps import figures, online
from mmnar_lightning.sweeps.search import Search, num_trials_of
from mmnar_lightning.sweeps.space import SWEEP_FILE, Sweep, read
from mmnar_lightning.sweeps.table import TABLE, build_table, short_names
from mmnar_lightning.sweeps.workers import WorkerPool, trial_folder

RESERVED_KEYS = ("evaluate", "resume", "run", "out")
"""Settings of the trials that the sweep sets itself."""


def sweep(config: ExperimentConfig, words: Sequence[str]) -> Path:
    """Search the settings of a file; the other words apply to every trial. The same command resumes a sweep.

    Returns:
        The sweep's folder.

    Raises:
        ConfigError: without a file, or when W&B searches and the user is not logged in.
    """
    if not config.sweep.file:
        raise ConfigError("sweep needs SWEEP=experiments/sweeps/<name>.yaml (or sweep.file=)")
    if not config.sweep.offline and not online.is_logged_in():
        raise ConfigError(
            "not logged in to W&B: run `wandb login`, set WANDB_API_KEY, or search on this machine with OFFLINE=1"
        )
    shared = [word for word in words if not word.startswith("sweep.")]
    found = read(sweep_file(config.sweep.file))
    _check(found, shared)
    return _offline(config, found, shared) if config.sweep.offline else _online(config, found, shared)


def _check(found: Sweep, shared: Sequence[str]) -> None:
    """Refuse settings that any trial would refuse, before the first one is trained."""
    for word in shared:
        if word.partition("=")[0] in RESERVED_KEYS:
            raise ConfigError(f"{word}: a sweep sets {', '.join(RESERVED_KEYS)} of its trials itself")
    if "evaluate=false" not in found.settings():
        raise ConfigError("command: trials must not use test rows; put evaluate=false before ${args_no_hyphens}")
    for parameter in found.parameters:
        for value in parameter.extremes:
            load([*found.settings(), f"{parameter.key}={value}", *shared])


def _offline(config: ExperimentConfig, found: Sweep, shared: Sequence[str]) -> Path:
    own = {key: value for key, value in found.plain.items() if key != "run_cap"}
    check_name("sweep.file", Path(config.sweep.file).stem)
    name = f"{Path(config.sweep.file).stem}-{stage.digest([own, sorted(shared)])[:6]}"
    folder = Path(config.paths.runs).absolute() / "sweeps" / name
    num_trials = num_trials_of(found, config.sweep.trials)
    max_epochs = load([*found.settings(), *shared]).trainer.max_epochs
    with _locked(folder):
        search = Search(found, folder, num_trials, max_epochs)
        _write_file(folder, found.plain)
        say(f"sweep: {folder}")
        try:
            WorkerPool(search, folder, shared, config.sweep.processes).work()
        finally:
            _report(folder, found, search)
    return folder


def _online(config: ExperimentConfig, found: Sweep, shared: Sequence[str]) -> Path:
    for word in shared:
        if word.startswith("paths."):
            raise ConfigError(
                f"{word}: the settings of a W&B sweep are uploaded, and this is a path of this machine; name releases "
                "with MIMIC_ROOT, EICU_ROOT or COHORT in the environment, and start in the folder of data/ and runs/"
            )
    plain = {**found.plain, "command": [*found.command, *shared]}
    if config.sweep.trials:
        plain["run_cap"] = config.sweep.trials
    key = stage.digest(plain)
    base = Path(config.paths.runs) / "sweeps"
    folder = next((path.parent for path in base.glob("*/wandb.json") if stage.read_json(path)["digest"] == key), None)
    if folder is None:
        path = online.create(plain, config)
        check_name("the sweep of W&B", path.rpartition("/")[2])
        folder = base / path.rpartition("/")[2]
        folder.mkdir(parents=True)
        _write_file(folder, plain)
        stage.write_json(online.agent_path(folder), {"digest": key, "path": path})
    online.start_agent(stage.read_json(online.agent_path(folder))["path"])
    _report(folder, found)
    return folder


def _write_file(folder: Path, plain: dict[str, Any]) -> None:
    record(folder)
    (folder / SWEEP_FILE).write_text(yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a sweep's folder against a second search."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(locks.locked(folder / ".lock", wait=False))
        except locks.HeldError:
            raise ConfigError(
                f"{folder}: another process is searching there; sweep.processes=2 trains two trials at a time"
            ) from None
        yield


def _report(folder: Path, found: Sweep, search: Search | None = None) -> None:
    """Write and show the table and figures of the trials."""
    states = {} if search is None else {trial_folder(folder, n).name: state for n, state in search.states().items()}
    table = build_table(folder, found, states)
    table.write_csv(folder / TABLE)
    if table.is_empty():
        return
    values, trial_states = table[found.metric].to_list(), table["state"].to_list()
    save(figures.draw_trials(values, trial_states, found.metric, found.maximise), folder / "trials.png")
    if search is not None and (importance := search.importance()):
        save(figures.draw_importance(importance, found.metric), folder / "importance.png")
    shown = ["trial", "state", *(f"parameter/{parameter.key}" for parameter in found.parameters), found.metric, "best"]
    names = short_names([parameter.key for parameter in found.parameters])
    show("trials", ["trial", "state", *names, found.metric, "best"], table.select(shown).iter_rows())
    say(f"sweep: {folder}; `mmnar best run={folder}` evaluates the test rows with its best trial, once")


def run(config: ExperimentConfig, words: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    sweep(config, words)
    return 0
