"""`dataset=meds` as a program: doctor, a run, and new rows with the columns of the model."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mmnar_lightning.saved.read import load
from tests.end_to_end.test_predict import QUIET, mmnar
from tests.helpers.meds import write_data, write_labels
from tests.unit.databases.meds.test_meds import MAPPING, events_of, hours

WORDS = ("dataset=meds", "paths.roots.meds=meds", "cohort.mapping=mapping.yaml")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data of 150 subjects, a run on them, and other subjects without labels."""
    place = tmp_path_factory.mktemp("meds")
    write_data(place / "meds", [event for subject in range(1, 151) for event in events_of(subject)])
    write_labels(place / "labels", "death", [(subject, hours(24), subject % 5 < 2) for subject in range(1, 151)])
    (place / "mapping.yaml").write_text(MAPPING)
    mmnar(place, "train", *WORDS, "cohort.labels=labels", *QUIET)
    write_data(place / "new", [event for subject in range(901, 910) for event in events_of(subject)])
    write_labels(place / "times", "death", [(subject, hours(24), None) for subject in range(901, 910)])
    return place


def test_doctor_prints_the_modalities_and_what_is_wrong_is_one_line(place: Path) -> None:
    said = mmnar(place, "doctor", *WORDS, "cohort.labels=labels")
    assert "labs" in said
    assert "can be trained on: data/cohorts/meds-" in said
    said = mmnar(place, "train", "dataset=meds", "cohort.labels=labels", *QUIET, status=1)
    assert "dataset=meds needs MEDS_ROOT=/path" in said


def test_new_rows_of_other_data_are_read_with_the_columns_of_the_model(place: Path) -> None:
    words = ("dataset=meds", "paths.roots.meds=new", "cohort.mapping=mapping.yaml", "cohort.labels=times", "out=here")
    assert "9 rows predicted" in mmnar(place, "predict", *words)
    found = pl.read_parquet(place / "here" / "predictions.parquet")
    assert found["subject_id"].to_list() == [str(subject) for subject in range(901, 910)]
    assert found["rectified/death"].is_between(0, 1, closed="none").all()
    (run,) = (place / "runs" / "meds").iterdir()
    described = load(run / "model").description
    (cohort,) = (
        folder
        for folder in (place / "data" / "cohorts").glob("meds-*")
        if "901" in pl.read_parquet(folder / "cohort.parquet")["subject_id"]
    )
    values = np.load(cohort / "modalities" / "labs" / "values.npy")
    assert values.shape[1] == next(entry.width for entry in described.modalities if entry.name == "labs")


def test_predictions_have_the_schema_of_meds_and_the_values_of_the_run(place: Path) -> None:
    (run,) = (place / "runs" / "meds").iterdir()
    said = mmnar(place, "export", "to=meds", f"run={run}")
    predicted = pl.read_parquet(run / "predictions.parquet")
    assert f"up to {predicted.height} rows with a known label" in said.replace("\n", " ")
    found = pl.read_parquet(run / "export" / "meds" / "death.parquet")
    assert found.schema == {
        "subject_id": pl.Int64,
        "prediction_time": pl.Datetime("us"),
        "boolean_value": pl.Boolean,
        "predicted_boolean_value": pl.Boolean,
        "predicted_boolean_probability": pl.Float32,
    }
    assert not any(column.null_count() for column in found)
    assert found["subject_id"].cast(pl.String).to_list() == predicted["subject_id"].to_list()
    assert set(found["prediction_time"]) == {hours(24)}
    assert found["boolean_value"].to_list() == [subject % 5 < 2 for subject in found["subject_id"]]
    expected = 1 / (1 + np.exp(-predicted["rectified/death"].to_numpy()))
    np.testing.assert_allclose(found["predicted_boolean_probability"].to_numpy(), expected, rtol=1e-6)
    assert found["predicted_boolean_value"].to_list() == (expected >= 0.5).tolist()
    assert "exists; remove it" in mmnar(place, "export", "to=meds", f"run={run}", status=1)
    said = mmnar(place, "export", "to=meds", f"run={run}", "out=there", "paths.data=elsewhere", status=1)
    assert "set paths.data" in said


ALIGN = """
import sys
import pyarrow.parquet
from meds_evaluation.schema import PredictionSchema
table = pyarrow.parquet.read_table(sys.argv[1])
assert PredictionSchema.align(table).schema.equals(table.schema), table.schema
"""
SCORES = {"roc_auc_score": "auroc", "average_precision_score": "average_precision", "brier_score": "brier"}
"""Score of meds-evaluation -> that of a run."""


def test_meds_evaluation_accepts_the_export_and_gives_the_scores_of_the_run(place: Path) -> None:
    """In an environment of its own, because it needs an older omegaconf: `make test-meds` makes one."""
    python = os.environ.get("MEDS_EVALUATION")
    if not python:
        pytest.skip("MEDS_EVALUATION names no interpreter of an environment with meds-evaluation")
    (run,) = (place / "runs" / "meds").iterdir()
    mmnar(place, "export", "to=meds", f"run={run}", "out=evaluated")
    predictions, scores = place / "evaluated" / "death.parquet", place / "evaluated" / "scores.json"
    subprocess.run([python, "-c", ALIGN, str(predictions)], check=True)
    words = [f"predictions_path={predictions}", f"output_file={scores}"]
    subprocess.run([python, "-m", "meds_evaluation", *words], check=True, cwd=place)
    theirs = json.loads(scores.read_text())["samples_equally_weighted"]
    ours = json.loads((run / "results.json").read_text())["rectified"]["death"]["all"]
    for name, score in SCORES.items():
        assert theirs[name] == pytest.approx(ours[score]["value"], abs=1e-5), name
