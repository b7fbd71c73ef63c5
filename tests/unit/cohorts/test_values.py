"""Tasks that are numbers: the contract, lengths of stay of both databases by hand, and their scale in the arrays."""

import csv
import gzip
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from data_modules.cohorts.columns import ContractError, kind_of, tasks_of, validate
from data_modules.cohorts.config import CustomCohortConfig
from data_modules.cohorts.custom import build_custom
from data_modules.cohorts.labels import check_outcomes
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.eicu.tables import EICU
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.errors import UserError
from data_modules.loading.opening import Reading, open_cohort
from data_modules.raw.reader import Release
from tests.conftest import demo_folder
from tests.helpers import eicu, mimic_iv
from tests.helpers.mimic_iv import admission, moment, patient

STAY = "value/length_of_stay"


def frame(**columns: Any) -> pl.DataFrame:
    return pl.DataFrame({"row_id": [0, 1], "subject_id": ["a", "b"], "present/labs": [True, True], **columns})


def test_the_prefix_of_a_column_declares_the_kind():
    numbers = frame(**{"value/days": [1.5, None]})
    assert (kind_of(numbers), tasks_of(numbers)) == ("value", ["days"])
    assert kind_of(frame(**{"label/death": [True, None]})) == "binary"
    validate(numbers, "mine")


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        ({"value/days": [1.0, 2.0], "label/death": [True, False]}, "cannot be mixed"),
        ({"value/days": [1.0, float("inf")]}, r"\(1 rows\): must be finite"),
        ({"value/days": ["1", "2"]}, "must be numeric, but is String"),
        ({"value/a/b": [1.0, 2.0]}, "must not contain a slash"),
    ],
)
def test_what_cannot_be_predicted_is_refused(columns, rule):
    with pytest.raises(ContractError, match=rule):
        validate(frame(**columns), "mine")


def custom(folder: Path, days: list[float | None], **columns: Any) -> Path:
    rows = len(days)
    (folder / "modalities" / "labs").mkdir(parents=True)
    pl.DataFrame(
        {
            "row_id": range(rows),
            "subject_id": [f"p{number:03d}" for number in range(rows)],
            "present/labs": [True] * rows,
            "value/days": days,
            **columns,
        }
    ).write_parquet(folder / "cohort.parquet")
    pl.DataFrame({"row_id": range(rows), "lactate": np.arange(rows) / rows}).write_parquet(
        folder / "modalities" / "labs" / "table.parquet"
    )
    return folder


SPLITS = ["train"] * 20 + ["val"] * 10 + ["calibration"] * 5 + ["test"] * 5


def test_arrays_have_numbers_in_standard_deviations_of_the_train_rows(tmp_path):
    days = [float("nan"), *np.linspace(1, 9, 39).tolist()]
    source = custom(tmp_path / "mine", days, split=SPLITS)
    opened = open_cohort(build_custom(source, CustomCohortConfig(), tmp_path), {})
    train = np.array(days[1:20])
    assert (opened.kind, opened.tasks) == ("value", ["days"])
    assert opened.deviations == pytest.approx([train.std()])
    scale = opened.arrays.scale
    assert scale is not None
    assert opened.arrays.label_mask[:, 0].tolist() == [False] + [True] * 39
    expected = (np.array(days[1:]) - train.mean()) / train.std()
    assert opened.arrays.label[1:, 0].tolist() == pytest.approx(expected.tolist(), rel=1e-5, abs=1e-6)
    assert scale.restored(opened.arrays.label)[1:, 0].tolist() == pytest.approx(days[1:], rel=1e-5)
    folded = open_cohort(opened.folder, {}, Reading(inner_folds=2))
    assert folded.deviations == pytest.approx([np.array(days[1:30]).std()])


@pytest.mark.parametrize(("constant", "split"), [(slice(0, 20), "train"), (slice(20, 30), "val")])
def test_numbers_that_do_not_vary_are_refused(tmp_path, constant, split):
    days: list[float | None] = list(map(float, range(40)))
    days[constant] = [2.0] * len(days[constant])
    source = custom(tmp_path / "mine", days, split=SPLITS)
    opened = open_cohort(build_custom(source, CustomCohortConfig(), tmp_path), {})
    with pytest.raises(UserError, match=f"days has fewer than two different values in the {split} split"):
        check_outcomes(opened.manifest)


def test_a_stay_of_mimic_is_counted_from_the_prediction_to_discharge_or_death(tmp_path):
    rows = {1: admission(1, 1, moment(), moment(3.5)), 2: mimic_iv.death(2, 2, moment(), moment(2), moment(2))}
    release = mimic_iv.write_release(
        tmp_path,
        patients=[patient(1), patient(2)],
        admissions=list(rows.values()),
        icustays=[mimic_iv.stay(number, number, moment(hours=6), moment(1.5)) for number in rows],
    )
    found = mimic_iv.cohort_rows(release, landmark="icu_24h", tasks=["length_of_stay"])
    assert {hadm: row[STAY] for hadm, row in found.items()} == {1: 2.25, 2: 0.75}
    assert not any(name.startswith("label/") for name in found[1])


def test_a_stay_of_eicu_is_counted_to_the_discharge_from_hospital_or_unit(tmp_path):
    day = eicu.DAY
    stays = [
        eicu.stay(1, lasts=2 * day, hospitaldischargeoffset=5 * day),
        eicu.stay(2, lasts=3 * day, hospitaldischargeoffset=""),
        eicu.stay(3, lasts=3 * day, hospitaldischargeoffset=day // 2),
    ]
    found = eicu.cohort_rows(
        eicu.write_release(tmp_path, stays), tasks=["length_of_stay", "unit_length_of_stay"], index="every"
    )
    assert {stay: (row[STAY], row["value/unit_length_of_stay"]) for stay, row in found.items()} == {
        1: (4.0, 1.0),
        2: (None, 2.0),
        3: (None, 2.0),
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: MIMICCohortConfig(landmark="icu_24h", tasks=["length_of_stay", "in_hospital_mortality"]),
            "length_of_stay is a number, and in_hospital_mortality an outcome that is yes or no",
        ),
        (lambda: EICUCohortConfig(tasks=["length_of_stay", "phenotypes"]), "length_of_stay is a number"),
        (lambda: MIMICCohortConfig(tasks=["length_of_stay"]), "does not fit cohort.landmark=discharge"),
        (
            lambda: EICUCohortConfig(tasks=["length_of_stay"], landmark="unit_discharge"),
            "length_of_stay does not fit cohort.landmark=unit_discharge",
        ),
    ],
)
def test_stays_that_cannot_be_asked_are_refused(make, message):
    with pytest.raises(UserError, match=re.escape(message)):
        make()


def table(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.mark.demo
def test_stays_of_the_open_mimic_demo_agree_with_a_hand_count():
    folder = demo_folder("mimic-iv-demo")
    left = {
        row["hadm_id"]: datetime.fromisoformat(row["dischtime"]) for row in table(folder / "hosp/admissions.csv.gz")
    }
    entered: dict[str, datetime] = {}
    for row in table(folder / "icu/icustays.csv.gz"):
        begun = datetime.fromisoformat(row["intime"])
        entered[row["hadm_id"]] = min(begun, entered.get(row["hadm_id"], begun))
    release = Release(MIMIC_IV, [folder])
    found = mimic_iv.cohort_rows(release, landmark="icu_24h", tasks=["length_of_stay"], index="every")
    assert len(found) == 125
    for hadm, row in found.items():
        remaining = (left[str(hadm)] - entered[str(hadm)]).total_seconds() / 86_400 - 1
        assert row[STAY] == pytest.approx(remaining)


@pytest.mark.demo
def test_stays_of_the_open_eicu_demo_agree_with_a_hand_count():
    folder = demo_folder("eicu-demo")
    rows = {row["patientunitstayid"]: row for row in table(folder / "patient.csv.gz")}
    tasks = ["length_of_stay", "unit_length_of_stay"]
    found = eicu.cohort_rows(Release(EICU, [folder]), tasks=tasks, index="every")
    assert len(found) == 1622
    unknown = 0
    for stay, row in found.items():
        for task, column in zip(tasks, ("hospitaldischargeoffset", "unitdischargeoffset"), strict=True):
            remaining = int(rows[str(stay)][column]) / 1440 - 1
            unknown += remaining < 0
            assert row[f"value/{task}"] == (pytest.approx(remaining) if remaining >= 0 else None)
    assert unknown == 1


def test_unknown_values_are_no_zeros(tmp_path):
    source = custom(tmp_path / "mine", [None, *map(float, range(39))], split=SPLITS)
    opened = open_cohort(build_custom(source, CustomCohortConfig(), tmp_path), {})
    batch = opened.arrays.gather(torch.tensor([0, 1]))
    assert batch.label_mask[:, 0].tolist() == [False, True]
