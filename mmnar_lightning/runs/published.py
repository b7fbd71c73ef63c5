"""Reads what the page of a run is made from: files that may be shared, and the masked counts of its cohort."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from data_modules import stage
from data_modules.errors import UserError
from data_modules.vocabulary import SPLITS
from mmnar_lightning.config.compose import load, loggable
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.evaluation.results import Results
from mmnar_lightning.evaluation.results_json import ResultsError, from_json
from mmnar_lightning.metrics.suppression import Counts, hidden_cells, with_sum
from mmnar_lightning.report.cohort import shown_attrition
from mmnar_lightning.report.page.inputs import CohortFacts, PageRun, SplitRows
from mmnar_lightning.runs import folders, model_folder
from mmnar_lightning.runs.compared import name_of
from mmnar_lightning.runs.run import scores_a_fold
from mmnar_lightning.saved.description import MODEL

METRICS = "metrics.csv"
TEST = "test"


def read(folder: Path, config: ExperimentConfig) -> PageRun:
    """Read a run for the page.

    Args:
        folder: of the run.
        config: of the command: where cohorts lie.

    Returns:
        The run, from public files.

    Raises:
        ConfigError: if it was not evaluated, or its public results show smaller cells than `privacy.min_count`.
    """
    if not (folder / folders.PUBLIC).is_file():
        raise ConfigError(f"{folder} has no {folders.PUBLIC}; `mmnar evaluate run={folder}` writes it")
    results = _results(folder / folders.PUBLIC)
    if "privacy.min_count" in config.given and (results.masked_below or 0) < config.privacy.min_count:
        raise ConfigError(
            f"privacy.min_count={config.privacy.min_count}: {folder / folders.PUBLIC} shows cells from "
            f"{results.masked_below} rows on; remove it, and `mmnar evaluate run={folder} "
            f"privacy.min_count={config.privacy.min_count}` writes it again"
        )
    saved = load([f"experiment={folder / folders.CONFIG}"])
    settings = loggable(saved)
    return PageRun(
        name=name_of(folder),
        results=results,
        settings=settings,
        yaml=yaml.safe_dump(settings, sort_keys=False, allow_unicode=True),
        cohort=_cohort(results, saved, config),
        epochs=_epochs(folder / METRICS),
        packages=_packages(folder / model_folder.FOLDER / MODEL),
    )


def _results(path: Path) -> Results:
    try:
        return from_json(Results, stage.read_json(path))
    except (ResultsError, ValueError) as error:
        raise ResultsError(f"{path}: {error}") from error


def _cohort(results: Results, saved: ExperimentConfig, config: ExperimentConfig) -> CohortFacts | None:
    """What may be shown of the cohort; None if its folder is not where this command, or the run, has its data."""
    if results.cohort is None:
        return None
    name = f"{saved.cohort.name}-{results.cohort}"
    places = [Path(root) / "cohorts" / name / stage.MANIFEST for root in (config.paths.data, saved.paths.data)]
    path = next((path for path in places if path.is_file()), None)
    if path is None:
        return None
    manifest = stage.read_json(path)
    min_count = results.masked_below or 0
    return CohortFacts(
        attrition=shown_attrition(manifest["attrition"], min_count),
        splits={} if scores_a_fold(saved) else _splits(manifest["prevalence"], results, min_count),
        kinds={entry["name"]: entry["kind"] for entry in manifest["modalities"]},
        widths={entry["name"]: entry["width"] for entry in manifest["modalities"]},
        packages=manifest.get("packages", {}),
    )


def _splits(prevalence: Mapping[str, Any], results: Results, min_count: int) -> dict[str, dict[str, SplitRows]]:
    """Known labels and positives by split, without small cells and those that they would follow from.

    Test rows are those of the public results, so that none of them is hidden in place of another split.

    Returns:
        Task -> split -> rows.
    """
    others = {
        task: {split: Counts(own["known"], own["positive"]) for split, own in splits.items() if split != TEST}
        for task, splits in prevalence.items()
        if task in results.tasks
    }
    hidden = hidden_cells({task: with_sum(cells) for task, cells in others.items()}, min_count)
    nothing = SplitRows(rows=None, positives=None)
    found: dict[str, dict[str, SplitRows]] = {}
    for task, cells in others.items():
        tested = results.tasks[task].all
        shown = {
            split: nothing if split in hidden[task] else SplitRows(rows=int(own.rows), positives=int(own.positives))
            for split, own in cells.items()
        }
        shown[TEST] = SplitRows(rows=tested.count, positives=tested.positives)
        found[task] = {split: shown[split] for split in SPLITS if split in shown}
    return found


def _epochs(path: Path) -> dict[int, dict[str, float]]:
    """Epoch -> logged key -> its last value in that epoch; empty without the file."""
    if not path.is_file():
        return {}
    try:
        table = pl.read_csv(path, infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{path} is not a table of logged values; remove it, and the page has no curves") from error
    found: dict[int, dict[str, float]] = {}
    if "epoch" not in table.columns:
        return found
    for row in table.drop_nulls("epoch").iter_rows(named=True):
        kept = {key: float(value) for key, value in row.items() if isinstance(value, int | float)}
        found.setdefault(int(row["epoch"]), {}).update(kept)
    return found


def _packages(path: Path) -> dict[str, str]:
    """Versions of the packages that trained the model; empty without a model folder."""
    return dict(stage.read_json(path).get("versions", {})) if path.is_file() else {}
