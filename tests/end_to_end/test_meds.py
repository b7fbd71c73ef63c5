"""`dataset=meds` as a program: doctor, a run, and new rows with the columns of the model."""

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
