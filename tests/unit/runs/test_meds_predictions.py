"""Runs whose predictions the schema of MEDS cannot hold, and rows that it leaves out."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.runs.meds_predictions import SCHEMA, of_run

AT = datetime(2150, 1, 1)


def written(place: Path, at: Any = AT, **columns: Any) -> tuple[Path, Path]:
    """A run of three test rows, of which the label of the second is unknown, and the folder of its cohort."""
    rows = {"row_id": [4, 5, 6], "subject_id": ["7", "8", "9"], "label/death": [True, None, False]}
    frame = pl.DataFrame({**rows, "probability/death": [0.9, 0.5, 0.2], **columns})
    run, cohort = place / "run", place / "data" / "cohorts" / "mine-0123"
    run.mkdir(parents=True)
    cohort.mkdir(parents=True)
    frame.write_parquet(run / "predictions.parquet")
    (run / "results.json").write_text(json.dumps({"cohort": "0123"}))
    times = pl.DataFrame({"row_id": range(10)}, {"row_id": pl.UInt32})
    (times if at is None else times.with_columns(prediction_at=pl.lit(at))).write_parquet(cohort / "cohort.parquet")
    return run, place / "data"


def test_rows_without_a_label_are_left_out_and_without_a_rectifier_the_probability_counts(tmp_path: Path) -> None:
    found = of_run(*written(tmp_path))["death"]
    assert found.schema == SCHEMA
    probability = found["predicted_boolean_probability"].round(6).to_list()
    assert list(zip(found["subject_id"], found["prediction_time"], probability, strict=True)) == [
        (7, AT, pytest.approx(0.9)),
        (9, AT, pytest.approx(0.2)),
    ]
    assert found["predicted_boolean_value"].to_list() == [True, False]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"subject_id": ["a", "8", "9"]}, "MEDS needs integer ids of subjects and times"),
        ({"row_id": [4, 5, 99]}, "MEDS needs integer ids of subjects and times"),
        ({"at": None}, "the cohort has no column prediction_at of times"),
        ({"at": 90}, "the cohort has no column prediction_at of times"),
        ({"row_id": [4, 4, 5]}, "predicts some rows several times"),
    ],
)
def test_what_meds_cannot_hold_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        of_run(*written(tmp_path, **changes))
