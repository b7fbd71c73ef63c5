"""Runs of estimators, which are fitted without Lightning and write the same files as other runs."""

from pathlib import Path
from typing import Any

from torch import Tensor

from data_modules import files, stage
from data_modules.batch import Batch
from data_modules.errors import UserError
from data_modules.loading.opened import OpenedCohort
from data_modules.vocabulary import TaskKind
from mmnar_lightning.baselines.registry import Estimator
from mmnar_lightning.callbacks import digests
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.console import say, warn
from mmnar_lightning.metrics.pattern import PatternMetric, mask_small_cells
from mmnar_lightning.outputs import ScoredRows
from mmnar_lightning.runs import build, folders, model_folder, results, transfer
from mmnar_lightning.runs.loggers import build_loggers
from mmnar_lightning.runs.run import Run
from mmnar_lightning.runs.weights import weighted
from mmnar_lightning.saved.parts import of_estimator


def train(run: Run) -> None:
    """Fit an estimator, and evaluate it if `evaluate` is set; a resumed run is refitted unless already evaluated."""
    say(f"run: {run.folder}")
    estimator = fit(run)
    save_model(run, estimator)
    if run.config.evaluate:
        evaluate(run, estimator)


def save_model(run: Run, estimator: Estimator) -> None:
    """Write the model folder, or warn why it cannot be written."""
    try:
        parts = of_estimator(estimator, build.baseline_inputs(run.config, run.cohort))
    except UserError as error:
        warn(f"{run.folder / model_folder.FOLDER} is not written: {error}")
    else:
        model_folder.save(run, parts)


def fit(run: Run) -> Estimator:
    """Fit on train, choose the number of iterations on val, and log both.

    A baseline that is refitted at a target is fitted on the target's calibration rows too; they choose nothing.

    The estimator itself is not stored, because fitting is deterministic: `evaluate` fits it again. A refit that
    disagrees with the cohort or the number of iterations in `fit.json` raises a `ConfigError`.

    Returns:
        The fitted estimator.
    """
    added = _rows_of_target(run.config, run.cohort)
    estimator, val = fitted(run.config, run.cohort, added)
    content = {"cohort_fingerprint": run.cohort.fingerprint, "iterations": estimator.iterations}
    if added is not None:
        content["target_fingerprint"] = added.fingerprint
    path = run.folder / folders.FIT
    if path.is_file():
        _check_again(path, content)
    else:
        _log(run, estimator, val)
        _write(path, content)
    return estimator


def fitted(
    config: ExperimentConfig, cohort: OpenedCohort, target: OpenedCohort | None = None
) -> tuple[Estimator, Batch]:
    """Fit the baseline of a configuration, and show its remarks.

    Args:
        config: of an estimator.
        cohort: as the estimator reads it.
        target: the cohort whose calibration rows are fitted too; None for none.

    Returns:
        The fitted estimator, and the rows that chose its iterations.
    """
    estimator = build.build_estimator(config, cohort)
    train = batch_of(weighted(config, cohort), "train")
    val = train if config.evaluation.inner_folds else batch_of(cohort, "val")
    estimator.fit(train if target is None else Batch.concat([train, batch_of(target, "calibration")]), val)
    for line in estimator.remarks:
        warn(line)
    return estimator, val


def evaluate(run: Run, estimator: Estimator) -> None:
    """Predict and score the test rows, and those of the target if there is one."""
    target = transfer.score_estimator(run, estimator)
    rows = test_rows(run.cohort, estimator)
    num_missing = len(run.cohort.rows("test")) - len(rows)
    if num_missing:
        warn(f"{num_missing} test rows have no prediction and are not scored; {len(rows)} are")
    fitted = {"iterations": estimator.iterations, "rows_without_prediction": num_missing}
    results.save_results(run, results.compute_results(run, rows, fitted, target=target))


def test_rows(cohort: OpenedCohort, estimator: Estimator) -> ScoredRows:
    """Predict the test rows of a cohort; those without a prediction are excluded."""
    return _predicted(estimator, batch_of(cohort, "test"), cohort.kind)


def _predicted(estimator: Estimator, batch: Batch, kind: TaskKind) -> ScoredRows:
    """The rows of a batch that have a prediction; no other rank takes part."""
    probability: Tensor = estimator.predict(batch)
    logits = probability.double()
    rows = ScoredRows(
        row_id=batch.row_id,
        subject=batch.subject,
        present=batch.present,
        logits=logits if kind == "value" else logits.logit(),
        label=batch.label.double().where(batch.label_mask, 0.0),
        label_mask=batch.label_mask,
    )
    return rows.select(probability.isfinite().all(1))


def _score(cohort: OpenedCohort, estimator: Estimator, batch: Batch) -> dict[str, float]:
    """The metrics of a batch."""
    metric = PatternMetric(cohort.tasks, cohort.names, cohort.scored_patterns, cohort.deviations)
    metric.update(**_predicted(estimator, batch, cohort.kind).columns)
    return metric.compute()


def batch_of(cohort: OpenedCohort, split: str) -> Batch:
    """All rows of a split as one batch."""
    return cohort.arrays.gather(cohort.rows(split))


def _rows_of_target(config: ExperimentConfig, source: OpenedCohort) -> OpenedCohort | None:
    """The cohort whose calibration rows are added to the fit; None if the baseline is not refitted at a target."""
    if config.baseline.refit == "none":
        return None
    target = transfer.open_target(config, source)
    cohort = source if target is None else target.cohort
    if not len(cohort.rows("calibration")):
        raise ConfigError(
            f"baseline.logistic_regression.refit={config.baseline.refit}: the calibration split of the target has no "
            "row; raise cohort.split.target_calibration"
        )
    return cohort


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write fit.json with its digest, which is recorded before the file gets its name."""
    partial = path.with_name(f"{path.name}.new")
    stage.write_json(partial, content)
    digests.record(path, files.describe(partial))
    partial.replace(path)


def _check_again(path: Path, content: dict[str, Any]) -> None:
    problem = digests.problem(path)
    if problem:
        raise ConfigError(f"{path} is refused: it {problem}; restore it from a copy, or train again with resume=new")
    before = stage.read_json(path)
    if before != content:
        changed = ", ".join(f"{key}: {before.get(key)} before, {content[key]} now" for key in content)
        raise ConfigError(
            f"{path.parent} was fitted on another cohort, or with other library versions ({changed}); use the release "
            "or cohort folder that the run was trained on, unchanged"
        )


def _log(run: Run, estimator: Estimator, val: Batch) -> None:
    """Log validation losses by iteration, then the final metrics of every task and pattern, to all loggers."""
    scores, min_count = _score(run.cohort, estimator, val), run.config.privacy.min_count
    values = mask_small_cells(scores, min_count, totals_only=run.scores_a_fold)
    last = max(map(len, estimator.losses.values()))
    for logger in build_loggers(run, 0):
        for step in range(last):
            losses = {f"val/loss/{task}": curve[step] for task, curve in estimator.losses.items() if step < len(curve)}
            logger.log_metrics(losses, step=step + 1)
        logger.log_metrics({f"val/{key}": value for key, value in values.items()}, step=last)
        logger.save()
        logger.finalize("success")
