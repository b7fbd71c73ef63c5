"""What is fitted sees train rows only; the history of a subject is what a person would count."""

import csv
import gzip
import json
import math
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from data_modules.cohorts.build import build_cohort
from data_modules.cohorts.config import SplitConfig
from data_modules.cohorts.splits import draw
from data_modules.databases.mimic_iv import demographics
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.databases.registry import database
from data_modules.features import codes, store
from data_modules.raw.reader import Release
from tests.helpers.mimic_iv import admission, moment, patient, stay, write_release

SPLITS = dict(
    draw(pl.Series([str(subject) for subject in range(1, 61)]), SplitConfig()).select("subject_id", "split").rows()
)
SUBJECTS = range(1, 61)


def prescription(subject, drug, **cells):
    times = {"starttime": moment(2), "stoptime": moment(3)}
    row = {"subject_id": subject, "hadm_id": subject, "pharmacy_id": subject, "drug_type": "MAIN", "drug": drug}
    return {**row, **times, **cells}


def lab(subject, value, number=0):
    row = {"labevent_id": 100 * subject + number, "subject_id": subject, "hadm_id": subject, "specimen_id": subject}
    return {**row, "itemid": 50912, "charttime": moment(2), "storetime": moment(2), "valuenum": value}


def built(folder, modality, **tables):
    release = write_release(
        folder / "raw",
        patients=[patient(subject, anchor_age=40 + subject) for subject in SUBJECTS],
        admissions=[admission(subject, subject, moment(1), moment(5)) for subject in SUBJECTS],
        **tables,
    )
    config = MIMICCohortConfig(modalities=[modality], min_vocabulary_subjects=2, max_vocabulary=3)
    return build_cohort(database("mimic"), release, config, folder / "data")


def read(folder, modality):
    """Column -> values by row, of the array of a modality."""
    values = store.open_values(folder / "modalities" / modality)
    return dict(zip(store.read_columns(folder / "modalities" / modality), np.asarray(values).T, strict=True))


def of_split(split):
    return [subject for subject in SUBJECTS if SPLITS[str(subject)] == split]


def test_a_word_that_only_other_splits_have_never_becomes_a_column(tmp_path):
    rows = [prescription(subject, "Aspirin ") for subject in SUBJECTS]
    for split in ("calibration", "val", "test"):
        rows += [prescription(subject, f"only {split}") for subject in of_split(split)]
    rows.append(prescription(of_split("train")[0], "too rare"))
    table = read(built(tmp_path, "medications", prescriptions=rows), "medications")
    assert list(table) == ["drug/aspirin", "drug/distinct"]
    cohort = [*SUBJECTS]
    distinct = [1 + (SPLITS[str(s)] != "train") + (s == of_split("train")[0]) for s in cohort]
    assert table["drug/distinct"][: len(cohort)].tolist() == distinct


def test_the_most_frequent_words_of_train_subjects_are_kept_and_ties_are_alphabetical(tmp_path):
    train = of_split("train")
    counts = {"b": 4, "a": 4, "c": 6, "d": 3}
    rows = [prescription(subject, word) for word, count in counts.items() for subject in train[:count]]
    rows += [prescription(subject, "d") for subject in of_split("test")]
    table = read(built(tmp_path, "medications", prescriptions=rows), "medications")
    assert list(table) == ["drug/c", "drug/a", "drug/b", "drug/distinct"]


def test_many_rows_of_one_subject_count_once_for_the_vocabulary():
    words = pl.DataFrame({"row_id": [0, 1, 2, 3], "word": ["x", "x", "y", "y"]})
    train = pl.DataFrame({"row_id": [0, 1, 2, 3], "subject_id": [7, 7, 7, 8]})
    assert codes.fit_vocabulary(words, train, min_subjects=2, max_words=9) == ["y"]


def test_rows_of_other_splits_are_no_subject_of_a_word():
    words = pl.DataFrame({"row_id": [0, 2, 3, 0, 1], "word": ["x", "x", "x", "y", "y"]})
    train = pl.DataFrame({"row_id": [0, 1], "subject_id": [7, 8]})
    assert codes.fit_vocabulary(words, train, min_subjects=2, max_words=9) == ["y"]


def test_presence_is_any_word_and_not_only_one_of_the_vocabulary(tmp_path):
    rows = [prescription(subject, "aspirin") for subject in of_split("train")]
    rows += [prescription(of_split("test")[0], "unheard of")]
    rows += [prescription(of_split("test")[1], "flush", drug_type="BASE")]
    rows += [prescription(of_split("val")[0], "too late", starttime=moment(6))]
    cohort = pl.read_parquet(built(tmp_path, "medications", prescriptions=rows) / "cohort.parquet")
    present = set(cohort.filter("present/medications")["subject_id"].cast(pl.Int64))
    assert present == {*of_split("train"), of_split("test")[0]}


def statistics(folder, values):
    rows = [lab(subject, value) for subject, value in values.items()]
    return json.loads((built(folder, "labs", labevents=rows) / "modalities/labs/statistics.json").read_text())


def test_values_of_other_splits_do_not_move_the_statistics(tmp_path):
    values = {subject: 1 + subject / 10 for subject in SUBJECTS}
    usual = statistics(tmp_path / "a", values)
    others = {subject: value * (1 if SPLITS[str(subject)] == "train" else 7) for subject, value in values.items()}
    assert statistics(tmp_path / "b", others) == usual
    train = {subject: value * (7 if SPLITS[str(subject)] == "train" else 1) for subject, value in values.items()}
    assert statistics(tmp_path / "c", train) != usual


def test_statistics_are_mean_and_deviation_of_the_train_rows_that_were_measured(tmp_path):
    values = {subject: 1 + subject / 10 for subject in SUBJECTS if subject % 3}
    found = statistics(tmp_path, values)
    train = [value for subject, value in values.items() if SPLITS[str(subject)] == "train"]
    columns = store.read_columns(next((tmp_path / "data/cohorts").glob("cohort-*")) / "modalities/labs")
    position = columns.index("creatinine/mean")
    assert found["mean"][position] == pytest.approx(np.mean(train), rel=1e-5)
    assert found["scale"][position] == pytest.approx(np.std(train), rel=1e-5)
    never = columns.index("lactate/mean")
    assert (found["mean"][never], found["scale"][never]) == (0, 1)


def test_a_culture_without_an_hour_counts_when_its_day_is_over(tmp_path):
    def culture(subject, day):
        row = {"microevent_id": subject, "subject_id": subject, "hadm_id": subject, "spec_type_desc": "URINE"}
        return {**row, "chartdate": f"{moment(day):%Y-%m-%d} 00:00:00"}

    early, late = of_split("train")[:2]
    rows = [culture(early, 4), culture(late, 5)]
    leaves = [admission(subject, subject, moment(1), moment(5, hours=12)) for subject in SUBJECTS]
    release = write_release(
        tmp_path / "raw", patients=[patient(s) for s in SUBJECTS], admissions=leaves, microbiologyevents=rows
    )
    folder = build_cohort(database("mimic"), release, MIMICCohortConfig(modalities=["microbiology"]), tmp_path / "data")
    cohort = pl.read_parquet(folder / "cohort.parquet")
    assert cohort.filter("present/microbiology")["subject_id"].to_list() == [str(early)]


def test_history_counts_what_ended_before_the_admission_and_nothing_else(tmp_path):
    admissions = [
        admission(1, 1, moment(0), moment(2)),
        admission(1, 2, moment(400), moment(404)),
        admission(1, 3, moment(500), moment(510), edregtime=moment(499, hours=18)),
        admission(1, 4, moment(505), moment(506)),
        admission(1, 5, moment(600), moment(601)),
    ]
    stays = [
        stay(1, 2, moment(401), moment(403)),
        stay(1, 3, moment(501), moment(502)),
        stay(1, 3, moment(509), moment(512), stay_id=31),
        stay(1, 4, moment(505, hours=6), moment(505, hours=18)),
        stay(1, 5, moment(600), moment(601)),
    ]
    release = write_release(tmp_path / "raw", patients=[patient(1)], admissions=admissions, icustays=stays)
    config = MIMICCohortConfig(index="every", modalities=["demographics"])
    folder = build_cohort(database("mimic"), release, config, tmp_path / "data")
    table = read(folder, "demographics")
    hadm = pl.read_parquet(folder / "cohort.parquet")["admission_id"].to_list()
    row = {name: float(values[hadm.index(3)]) for name, values in table.items()}
    expected = {
        "age": 51,
        "hours_in_emergency": 6,
        "hours_in_hospital": 240,
        "earlier_admissions": 2,
        "earlier_admissions_365_days": 1,
        "earlier_days_in_hospital": 6,
        "days_since_discharge": 96,
        "icu_stays": 2,
        "icu_hours": 48,
        "earlier_icu_stays": 1,
        "gender/f": 1,
        "gender/m": 0,
    }
    assert {name: row[name] for name in expected} == expected
    assert math.isnan(row["race/white"])
    assert math.isnan(table["days_since_discharge"][hadm.index(1)])
    assert table["earlier_admissions"][hadm.index(1)] == 0


INDEX = pl.DataFrame(
    {"row_id": [0], "subject_id": [1], "hadm_id": [9], "admittime": [moment(500)], "landmark_at": [moment(501)]}
)


def past(*spans):
    """The history of the index, which begins on day 500, given when other admissions began and ended."""
    admissions = [
        {"subject_id": 1, "hadm_id": 10 + number, "admittime": begin, "dischtime": end}
        for number, (begin, end) in enumerate([*spans, (moment(500), moment(510))])
    ]
    admissions[-1]["hadm_id"] = 9
    found = demographics.history(INDEX, pl.DataFrame(admissions))
    return found.row(0, named=True) if found.height else None


@pytest.mark.parametrize(("seconds", "earlier"), [(-1, 1), (0, 1), (1, None)])
def test_an_admission_that_ends_as_the_index_begins_is_an_earlier_one(seconds, earlier):
    found = past((moment(498), moment(500, seconds=seconds)))
    assert (found and found["earlier_admissions"]) == earlier
    if earlier:
        assert found["days_since_discharge"] == pytest.approx(-seconds / 86_400)


@pytest.mark.parametrize(("seconds", "earlier"), [(-1, None), (0, 1), (1, 1)])
def test_a_reversed_admission_is_no_earlier_one_and_one_of_no_length_is(seconds, earlier):
    found = past((moment(400), moment(400, seconds=seconds)))
    assert (found and found["earlier_admissions"]) == earlier


@pytest.mark.parametrize(("seconds", "recent"), [(-1, 0), (0, 1), (1, 1)])
def test_the_last_year_is_365_times_24_hours_back_from_the_admission(seconds, recent):
    found = past((moment(100), moment(500 - 365, seconds=seconds)))
    assert (found["earlier_admissions"], found["earlier_admissions_365_days"]) == (1, recent)


@pytest.mark.parametrize(
    ("hadm_id", "intime", "expected"),
    [
        (9, moment(500), (1, 24, 0)),
        (9, moment(501), (1, 0, 0)),
        (9, moment(501, seconds=1), None),
        (8, moment(501, seconds=1), None),
        (8, moment(500, seconds=-1), (0, 0, 1)),
        (8, moment(500), (0, 0, 0)),
        (8, moment(500, hours=6), (0, 0, 0)),
    ],
)
def test_intensive_care_is_earlier_before_the_admission_and_unknown_after_the_landmark(hadm_id, intime, expected):
    stays = pl.DataFrame({"subject_id": [1], "hadm_id": [hadm_id], "intime": [intime], "outtime": [moment(600)]})
    found = demographics.icu_use(INDEX, stays).select("icu_stays", "icu_hours", "earlier_icu_stays").rows()
    assert found == ([] if expected is None else [expected])


@pytest.mark.demo
def test_history_of_the_demo_equals_a_hand_count_for_every_row(mimic_demo, tmp_path):
    with gzip.open(mimic_demo / "hosp/admissions.csv.gz", "rt", newline="") as handle:
        raw = list(csv.DictReader(handle))
    for row in raw:
        row["begin"], row["end"] = (datetime.fromisoformat(row[name]) for name in ("admittime", "dischtime"))
    config = MIMICCohortConfig(index="every", modalities=["demographics"])
    folder = build_cohort(database("mimic"), Release(MIMIC_IV, [mimic_demo]), config, tmp_path)
    table = read(folder, "demographics")
    by_id = {int(row["hadm_id"]): row for row in raw}
    for position, hadm in enumerate(pl.read_parquet(folder / "cohort.parquet")["admission_id"]):
        index = by_id[hadm]
        earlier = [row for row in raw if row["subject_id"] == index["subject_id"] and row["end"] <= index["begin"]]
        earlier = [row for row in earlier if row is not index]
        recent = [row for row in earlier if index["begin"] - row["end"] <= timedelta(days=365)]
        days = sum((row["end"] - row["begin"]).total_seconds() for row in earlier) / 86_400
        assert table["earlier_admissions"][position] == len(earlier)
        assert table["earlier_admissions_365_days"][position] == len(recent)
        assert table["earlier_days_in_hospital"][position] == pytest.approx(days, rel=1e-5)
        since = [(index["begin"] - row["end"]).total_seconds() / 86_400 for row in earlier]
        assert table["days_since_discharge"][position] == pytest.approx(
            min(since, default=math.nan), rel=1e-5, nan_ok=True
        )
    assert table["earlier_admissions"].max() >= 10
