"""Results of tasks that are numbers, and what cannot be done with them."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from data_modules.cohorts.subgroups import SUBGROUP
from mmnar_lightning.baselines.registry import find
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.evaluation.rectify import Rectification
from mmnar_lightning.evaluation.results import Results
from mmnar_lightning.evaluation.subgroups import label_availability
from mmnar_lightning.evaluation.value_subgroups import score_value_subgroups
from mmnar_lightning.evaluation.values import in_units, score_values, value_predictions
from mmnar_lightning.outputs import ScoredRows
from mmnar_lightning.runs import folders
from mmnar_lightning.runs.run import Run


def refuse(config: ExperimentConfig) -> None:
    """Refuse what reads outcomes that are yes or no, for a cohort whose tasks are numbers.

    Args:
        config: of the run.

    Raises:
        ConfigError: with the setting and the remedy.
    """
    name = config.baseline.name
    if name != "none" and "value" not in find(name).kinds:
        raise ConfigError(
            f"baseline.name={name} needs outcomes that are yes or no, but the tasks of this cohort are numbers; "
            "networks, logistic_regression (as ridge regression) and boosted_trees predict numbers"
        )
    evaluation = config.evaluation
    settings: dict[str, tuple[Any, Any]] = {
        "evaluation.blend": (evaluation.blend, False),
        "evaluation.elsewhere": (evaluation.elsewhere, "none"),
        "transfer.target": (config.transfer.target, ""),
        "cohort.split.target_calibration": (config.cohort.split.target_calibration, 0),
        "objective.focal_gamma": (config.objective.focal_gamma, 0),
        "baseline.logistic_regression.refit": (config.baseline.refit, "none"),
        "diagnostics.parts": (config.diagnostics.parts, False),
    }
    for key, (given, off) in settings.items():
        if given != off:
            raise ConfigError(
                f"{key}={str(given).lower()} is for outcomes that are yes or no, but the tasks of this cohort are "
                f"numbers (docs/method.md, section 7); {f'set {key}={str(off).lower()}' if off != '' else 'omit it'}"
            )


def compute(
    run: Run,
    rows: ScoredRows,
    common: Mapping[str, Any],
    rectified: Rectification | None,
    subgroups: pl.DataFrame | None,
    diagnostics: Mapping[str, Any] | None,
) -> Results:
    """Score test rows, and write predictions.parquet into the run's folder.

    Args:
        run: with the cohort of the rows.
        rows: N test rows, standardised.
        common: the fields of results that are the same for all kinds of tasks.
        rectified: the same rows after the rectifier; None without one.
        subgroups: of the cohort's rows; None has none.
        diagnostics: of the model.

    Returns:
        The content of results.json.
    """
    cohort = run.cohort
    scale, patterns = cohort.arrays.scale, cohort.scored_patterns
    assert scale is not None, "numbers have a scale"
    after = rectified.rows if rectified else None
    seen = cohort.train_patterns
    table = value_predictions(rows, scale, cohort.table, cohort.tasks, seen, after, subgroups)
    table.write_parquet(run.folder / folders.PREDICTIONS)
    unseen = table.filter("unseen_pattern")["pattern"]
    attributes = table.select(name for name in table.columns if name.startswith(SUBGROUP))
    divided = score_value_subgroups(after or rows, scale, attributes, cohort.tasks, run.scoring)
    return Results(
        **common,
        unseen_pattern_rows=len(unseen),
        unseen_patterns=sorted(unseen.unique()),
        diagnostics=dict(diagnostics or {}),
        tasks={},
        values=score_values(rows, scale, cohort.tasks, patterns, run.scoring),
        rectified_values=score_values(after, scale, cohort.tasks, patterns, run.scoring) if after else None,
        value_subgroups=divided or None,
        label_availability=label_availability(rows, cohort.tasks, patterns),
        rectifier=in_units(rectified.table, scale.deviation.tolist()) if rectified else None,
    )
