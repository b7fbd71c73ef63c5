"""Runs the entries of a table: trains trials, chooses one on held-out rows, and lets only that one read test rows."""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from data_modules import locks, stage
from data_modules.cohorts.build import BUILD
from data_modules.errors import UserError
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.console import say, silenced
from mmnar_lightning.distributed import signals
from mmnar_lightning.runs import build, folders, results, single
from mmnar_lightning.tables.plan import Entry, Plan

CHOSEN, LOSSES, REASON = "chosen", "losses", "not_applicable"
"""Keys of an outcome: the folder of the chosen trial, the log-losses of all, why the method cannot be trained."""
COST = "cost.json"
WALL, CPU = "wall_seconds", "cpu_seconds"
LOSS = "val/log_loss"
LOCK = ".entry.lock"


def run(plan: Plan, part: int | None) -> None:
    """Run the entries that are not finished, one after another; those that another process runs are waited for.

    Args:
        plan: of the table.
        part: number of the only entry to run; None runs all.

    Raises:
        ConfigError: for a part that there is not, or a finished run of another cohort than the present one.
    """
    count = len(plan.entries)
    if part is not None and part >= count:
        raise ConfigError(f"table.part={part}: there are {count} entries, numbered from 0")
    numbers = range(count) if part is None else [part]
    _check_cohorts([plan.entries[number] for number in numbers])
    held = [number for number in numbers if not _run(plan.entries[number], f"{number + 1} of {count}", wait=False)]
    for number in held:
        _run(plan.entries[number], f"{number + 1} of {count}", wait=True)


def _run(entry: Entry, number: str, *, wait: bool) -> bool:
    """Run an entry unless it is finished; returns False if another process holds it."""
    signals.raise_if_requested_here()
    entry.folder.mkdir(parents=True, exist_ok=True)
    try:
        with locks.locked(entry.folder / LOCK, wait=wait):
            if not entry.outcome.is_file():
                say(f"{number}: {entry.label}")
                stage.write_json(entry.outcome, _outcome(entry))
    except locks.HeldError:
        return False
    return True


def _outcome(entry: Entry) -> dict[str, object]:
    """Train all trials of an entry, and read the test rows with the best one."""
    reason = "" if _is_built_elsewhere(entry) else refusal(entry.trials[0])
    if reason:
        return {REASON: reason}
    alone = len(entry.trials) == 1
    for config, folder in zip(entry.trials, entry.runs, strict=True):
        with silenced(), measured(folder), folders.child_run(folder):
            single.train(replace(config, evaluate=alone))
    losses = [] if alone else [held_out_loss(folder) for folder in entry.runs]
    chosen = 0 if alone else int(np.argmin(losses))
    folder = entry.runs[chosen]
    if not alone:
        with silenced(), measured(folder):
            single.evaluate(replace(entry.trials[chosen], run=str(folder)))
    return {CHOSEN: folder.name, LOSSES: losses}


def _is_built_elsewhere(entry: Entry) -> bool:
    """Whether the method was built for another fold or seed of the cohort: then it can be for all."""
    outcomes = entry.folder.parent.glob(f"*/{entry.outcome.name.partition('-')[0]}-*.json")
    return any(CHOSEN in stage.read_json(path) for path in outcomes)


def refusal(config: ExperimentConfig) -> str:
    """Why a method cannot be built for a cohort; empty if it can. No row is read by it.

    Args:
        config: of a run.

    Returns:
        The message.
    """
    datamodule = build.build_datamodule(config)
    datamodule.prepare_data()
    datamodule.setup()
    # Copies for inner folds would be built with the fit alone, and principal axes take long.
    model = replace(config.model, encoder=replace(config.model.encoder, components=0))
    alone = replace(config, model=model, evaluation=replace(config.evaluation, inner_folds=0))
    try:
        if build.is_estimator(config):
            build.build_estimator(alone, datamodule.cohort)
        else:
            build.build_module(alone, datamodule.cohort, initialised=False)
    except UserError as error:
        return str(error)
    return ""


def held_out_loss(folder: Path) -> float:
    """Log-loss on the held-out rows of the inner folds: of a network's best epoch, or of an estimator.

    Args:
        folder: of a run that did not read its test rows.

    Returns:
        The mean over the tasks; infinite if it was never defined.
    """
    logged = pl.read_csv(folder / "metrics.csv", infer_schema_length=None)
    best = logged[LOSS].cast(pl.Float64).fill_nan(None).min()
    return float("inf") if best is None else float(best)  # type: ignore[arg-type]  # a float column


@contextmanager
def measured(folder: Path) -> Iterator[None]:
    """Add the time of a body to cost.json in a run's folder; a body that raises has cost it too.

    Args:
        folder: of the run.

    Yields:
        Nothing.
    """
    before = time.monotonic(), cpu_seconds()
    try:
        yield
    finally:
        path = folder / COST
        spent = stage.read_json(path) if path.is_file() else {WALL: 0.0, CPU: 0.0}
        now = time.monotonic(), cpu_seconds()
        if folder.is_dir():
            stage.write_json(
                path, {key: spent[key] + b - a for key, a, b in zip((WALL, CPU), before, now, strict=True)}
            )


def cpu_seconds() -> float:
    """CPU time of this process and of those of its children that have ended."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(spent.ru_utime + spent.ru_stime for spent in (own, children))


def _check_cohorts(entries: list[Entry]) -> None:
    """Refuse finished runs whose cohort has since changed, before any other is trained."""
    fingerprints: dict[tuple[str, int | None], str] = {}
    for entry in entries:
        if not entry.outcome.is_file() or CHOSEN not in (outcome := stage.read_json(entry.outcome)):
            continue
        key = entry.cohort, entry.child.fold
        if key not in fingerprints:
            with silenced():
                folder = build.build_datamodule(entry.trials[0]).build()
            fingerprints[key] = stage.read_manifest(folder, BUILD)["fingerprint"]
        run = entry.folder / outcome[CHOSEN]
        found = results.read(run).cohort
        if found != fingerprints[key]:
            raise ConfigError(
                f"{run} was trained on the cohort {found}, but {entry.cohort} is now {fingerprints[key]}; use the "
                "release that the finished runs were trained on, unchanged, or name another paths.runs"
            )
