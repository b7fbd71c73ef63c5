"""MEDS data: labels become rows, events that were known become inputs, and nothing later does."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from data_modules.cohorts.build import COHORT, MODALITIES
from data_modules.cohorts.config import SplitConfig
from data_modules.cohorts.fitting import Words
from data_modules.databases.meds.config import MEDSCohortConfig
from data_modules.databases.meds.spec import build_meds
from data_modules.errors import UserError
from data_modules.features import series, store
from data_modules.stage import MANIFEST, read_json
from tests.helpers.meds import Event, write_data, write_labels, write_splits

START = datetime(2150, 1, 1)
SUBJECTS = range(1, 61)
MAPPING = """
labs: {codes: [LAB//]}
drugs: {matches: ["MED//[a-z]+"], kind: codes}
notes: {codes: [NOTE], kind: documents}
person: {codes: [GENDER//], kind: codes}
"""


def hours(number: float) -> datetime:
    return START + timedelta(hours=number)


def events_of(subject: int) -> list[Event]:
    """Known by hour 24 and later ones; every third subject has no lab, every other one a note."""
    own: list[Event] = [
        (subject, None, "GENDER//F" if subject % 2 else "GENDER//M", None, None),
        (subject, hours(1), "MED//aspirin", None, None),
        (subject, hours(30), "MED//senna", None, None),
        (subject, hours(2), "MED//X1", None, None),
        (subject, hours(3), "OTHER", 5.0, None),
    ]
    if subject % 3:
        own += [
            (subject, hours(20), "LAB//lactate", float(subject), None),
            (subject, hours(24), "LAB//lactate", subject + 2.0, None),
            (subject, hours(24.001), "LAB//lactate", 99.0, None),
            (subject, hours(22), "LAB//sodium", None, "sent"),
            (subject, None, "LAB//lactate", 7.0, None),
        ]
    if subject % 2:
        own += [(subject, hours(23), "NOTE", None, f"note of {subject}"), (subject, hours(25), "NOTE", None, "later")]
    return own


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Data of sixty subjects."""
    return write_data(tmp_path / "meds", [event for subject in SUBJECTS for event in events_of(subject)])


@pytest.fixture
def config(tmp_path: Path) -> MEDSCohortConfig:
    """Two tasks at hour 24, the second of which is unknown for some subjects, and one row more of subject 2."""
    labels = tmp_path / "labels"
    write_labels(labels, "death", [(subject, hours(24), subject % 5 == 0) for subject in SUBJECTS], shards=3)
    write_labels(
        labels, "icu", [*((subject, hours(24), subject % 4 == 0) for subject in range(1, 31)), (2, hours(40), None)]
    )
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    return MEDSCohortConfig(labels=str(labels), mapping=str(tmp_path / "mapping.yaml"))


def built(root: Path, config: MEDSCohortConfig, words: Words | None = None) -> Path:
    return build_meds(root, config, root.parent / "data", words)


def table_of(folder: Path, modality: str) -> pl.DataFrame:
    place = folder / MODALITIES / modality
    return pl.DataFrame(np.array(store.open_values(place)), store.read_columns(place), orient="row")


def refused(root: Path, config: MEDSCohortConfig) -> str:
    with pytest.raises(UserError) as caught:
        built(root, config)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def test_rows_are_subjects_and_prediction_times_with_the_labels_of_every_task(root: Path, config) -> None:
    rows = pl.read_parquet(built(root, config) / COHORT)
    assert rows.height == 61
    keys = list(zip(rows["subject_id"], rows["prediction_at"], strict=True))
    assert keys == [
        (str(subject), at) for subject in SUBJECTS for at in ([hours(24), hours(40)] if subject == 2 else [hours(24)])
    ]
    own = {
        (subject, at): (first, second)
        for subject, at, first, second in rows.select("subject_id", "prediction_at", "^label/.*$").iter_rows()
    }
    assert own["5", hours(24)] == (True, False)
    assert own["40", hours(24)] == (True, None)
    assert own["2", hours(40)] == (None, None)
    assert rows.group_by("subject_id").agg(pl.col("split").n_unique())["split"].max() == 1


def test_presence_is_any_event_that_was_known_and_numbers_are_summarised_as_labs_are(root: Path, config) -> None:
    folder = built(root, config)
    rows = pl.read_parquet(folder / COHORT).with_columns(subject=pl.col("subject_id").cast(pl.Int64))
    assert rows["present/labs"].equals(rows["subject"] % 3 != 0)
    assert rows["present/notes"].equals(rows["subject"] % 2 == 1)
    assert rows["present/drugs"].all()
    labs = table_of(folder, "labs")
    assert labs.columns == [f"LAB//{name}/{part}" for name in ("lactate", "sodium") for part in series.CHARTED]
    cells = labs.row(rows.with_row_index("place").filter(subject=7)["place"].item(), named=True)
    found = {part: cells[f"LAB//lactate/{part}"] for part in series.CHARTED}
    assert found == {
        "count": 2, "first": 7, "last": 9, "min": 7, "max": 9, "mean": 8, "slope": 0.5, "hours_since_last": 0,
        "observed": 1,
    }  # fmt: skip
    assert (cells["LAB//sodium/count"], cells["LAB//sodium/observed"]) == (0, 0)
    later = rows.with_row_index("place").filter(subject=2, prediction_at=hours(40))["place"].item()
    assert labs.row(later, named=True)["LAB//lactate/count"] == 3


def test_codes_become_indicators_and_texts_documents(root: Path, config) -> None:
    folder = built(root, config)
    rows = pl.read_parquet(folder / COHORT).with_row_index("place")
    drugs = table_of(folder, "drugs")
    assert drugs.columns == ["drugs/MED//aspirin", "drugs/distinct"], "senna is later, X1 does not match"
    assert drugs.rows() == [(1.0, 2.0 if at == hours(40) else 1.0) for at in rows["prediction_at"]]
    person = table_of(folder, "person")
    female = rows["subject_id"].cast(pl.Int64) % 2 == 1
    assert person["person/GENDER//F"].cast(pl.Boolean).equals(female.alias("person/GENDER//F"))
    texts = pl.read_parquet(folder / MODALITIES / "notes" / "documents.parquet")
    assert set(texts["text"]) == {f"note of {subject}" for subject in SUBJECTS if subject % 2}
    assert texts["hours"].unique().to_list() == [-1.0]


def test_events_after_the_prediction_change_no_bit_of_the_cohort(root: Path, config, tmp_path: Path) -> None:
    late = {1: hours(24), 2: hours(40)}
    kept = [
        event
        for subject in SUBJECTS
        for event in events_of(subject)
        if event[1] is None or event[1] <= late.get(subject, hours(24))
    ]
    assert len(kept) < sum(len(events_of(subject)) for subject in SUBJECTS)
    write_data(tmp_path / "other" / "meds", kept)
    folders = [built(root, config), built(tmp_path / "other" / "meds", config)]
    names = sorted(str(path.relative_to(folders[0])) for path in folders[0].rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(folders[1])) for path in folders[1].rglob("*") if path.is_file())
    for name in names:
        if name != MANIFEST:
            assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


def test_the_splits_of_the_data_are_used_when_they_are_asked_for(root: Path, config) -> None:
    names = {subject: ("train", "tuning", "held_out")[subject % 3 if subject < 31 else 0] for subject in SUBJECTS}
    write_splits(root, names)
    config.given_splits = True
    rows = pl.read_parquet(built(root, config) / COHORT)
    own = dict(rows.select(pl.col("subject_id").cast(pl.Int64), "split").iter_rows())
    wanted = {"tuning": {"val"}, "held_out": {"test"}, "train": {"train", "calibration"}}
    assert all(own[subject] in wanted[name] for subject, name in names.items())
    assert {own[subject] for subject, name in names.items() if name == "train"} == wanted["train"]
    write_splits(root, {subject: name for subject, name in names.items() if subject != 4})
    assert "'split' (1 rows): must be one of train, tuning, held_out" in refused(root, config)
    with pytest.raises(UserError, match=r"given_splits=true cannot be used with cohort\.split\.test_fold"):
        MEDSCohortConfig(given_splits=True, split=SplitConfig(test_fold=1))


def test_the_columns_of_a_model_and_of_too_few_subjects(root: Path, config) -> None:
    folder = built(root, config, Words(min_subjects=50))
    manifest = read_json(folder / MANIFEST)
    assert [entry["name"] for entry in manifest["modalities"]] == ["notes"]
    assert "labs: 2 of 2 codes are of fewer than 50 train subjects" in " ".join(manifest["dropped"])
    columns = {
        "labs": [f"LAB//never/{part}" for part in series.CHARTED],
        "drugs": ["drugs/MED//senna", "drugs/distinct"],
    }
    again = built(root, config, Words(min_subjects=50, columns=columns))
    assert table_of(again, "labs").columns == columns["labs"]
    drugs, rows = table_of(again, "drugs"), pl.read_parquet(again / COHORT)
    assert drugs["drugs/MED//senna"].to_list() == [float(at == hours(40)) for at in rows["prediction_at"]]


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ("labs: [LAB]", "labs must have some of the keys codes, matches, kind"),
        ("labs: {code: [LAB]}", "labs must have some of the keys"),
        ("labs: {codes: LAB}", r"labs.codes must be a list of texts"),
        ("labs: {kind: events}", "labs needs codes"),
        ("labs: {codes: [LAB], kind: numbers}", "labs.kind='numbers' is not one of events, codes, documents"),
        ("labs: {matches: ['(']}", "which is no regular expression"),
        ("1labs: {codes: [LAB]}", "must consist of letters"),
        ("labs: {codes: [nothing]}", "no modality is left"),
        (": [", "is not readable as YAML"),
        ("text", "expected modality"),
    ],
)
def test_what_is_wrong_with_a_mapping_is_said(root: Path, config, tmp_path: Path, mapping: str, said: str) -> None:
    (tmp_path / "mapping.yaml").write_text(mapping)
    assert said in refused(root, config)


def changed(path: Path, **columns: Any) -> None:
    pl.read_parquet(path).with_columns(**columns).write_parquet(path)


def test_what_is_wrong_with_the_files_is_said(root: Path, config, tmp_path: Path) -> None:
    events, labels = root / "data" / "train" / "1.parquet", tmp_path / "labels" / "icu" / "0.parquet"
    usual, rows = events.read_bytes(), labels.read_bytes()
    changed(events, time=pl.col("time").dt.replace_time_zone("UTC"))
    assert "column 'time' is Datetime" in refused(root, config)
    events.write_bytes(usual)
    pl.read_parquet(events).drop("code").write_parquet(events)
    assert "column 'code' is missing" in refused(root, config)
    events.write_bytes(b"no Parquet")
    assert "not readable as Parquet" in refused(root, config)
    events.write_bytes(usual)
    changed(labels, boolean_value=pl.lit(1.5))
    assert "column 'boolean_value' is Float64, expected Boolean" in refused(root, config)
    labels.write_bytes(rows)
    pl.concat([pl.read_parquet(labels)] * 2).write_parquet(labels)
    assert "(31 rows): repeats in the labels of icu" in refused(root, config)
    changed(labels, prediction_time=pl.lit(None, pl.Datetime("us")))
    assert "must be known in the labels of icu" in refused(root, config)
    labels.unlink()
    assert "no_such is not in" in refused(
        root, MEDSCohortConfig(labels=config.labels, mapping=config.mapping, tasks=["no_such"])
    )
    assert "there are no labels" in refused(
        root, MEDSCohortConfig(labels=str(root / "data" / "none"), mapping=config.mapping)
    )
    assert "needs cohort.labels=/path" in refused(root, MEDSCohortConfig())
    assert "there is no Parquet file of MEDS events" in refused(tmp_path / "labels", config)
