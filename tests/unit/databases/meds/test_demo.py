"""The open MIMIC-IV demo as MEDS data gives the labels and lab summaries of the tables themselves.

The labels are derived from admissions, discharges and deaths of the MEDS data (`tests/helpers/aces.py`); nothing of the
native cohort goes into them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from data_modules.cohorts.build import COHORT, MODALITIES, build_cohort
from data_modules.cohorts.fitting import Words
from data_modules.databases.meds.config import MEDSCohortConfig
from data_modules.databases.meds.spec import build_meds
from data_modules.databases.mimic_iv.cohort import build_rows
from data_modules.databases.mimic_iv.concepts import LABS
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.mimic_iv.events import LABS as LABS_TABLE
from data_modules.databases.mimic_iv.events import by_admission, records
from data_modules.databases.mimic_iv.linking import windows
from data_modules.databases.registry import database
from data_modules.features import series, store
from data_modules.features.concepts import convert
from data_modules.raw.reader import Release
from tests.helpers import aces
from tests.helpers.meds import EVENTS, read_events, write_data, write_labels

pytestmark = pytest.mark.demo
FAR = pl.duration(days=3650)
"""After the prediction: MEDS data hold what happened later too."""


def lab_events(release: Release, rows: pl.DataFrame) -> pl.DataFrame:
    """The labs of the rows' admissions, before and after the prediction, one of each specimen, time and lab."""
    found = convert(records(release.scan(LABS_TABLE.table, LABS_TABLE.columns), LABS_TABLE), LABS)
    events = found.select(
        "subject_id", "hadm_id", "concept", "source", "censored", "done", "problem", "unit",
        event_at="charttime", available_at="storetime", value=pl.col("value").cast(pl.Float32), specimen="specimen_id",
    )  # fmt: skip
    far = windows(rows, pl.col("landmark_at") + FAR)
    settled = series.last_revisions(by_admission(events, far, drawn=True).collect())
    act: list[Any] = [
        "row_id",
        "concept",
        "hours",
        pl.coalesce("specimen", -pl.int_range(pl.len(), dtype=pl.Int64) - 1),
    ]
    largest = settled.group_by(*act).agg(pl.col("value").max(), pl.col("stored").max())
    placed = largest.join(far.select("row_id", "subject_id", "landmark_at"), on="row_id")
    seconds = (pl.col("hours") * 3600).round().cast(pl.Int64)
    return placed.with_columns(time=pl.col("landmark_at") + pl.duration(seconds=seconds))


@pytest.fixture(scope="module")
def cohorts(mimic_demo: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, pl.DataFrame]:
    """The native cohort, the same by way of MEDS, and the events."""
    place = tmp_path_factory.mktemp("meds_demo")
    release, config = Release.parse(database("mimic").schema, str(mimic_demo)), MIMICCohortConfig(modalities=["labs"])
    native = build_cohort(database("mimic"), release, config, place / "data")
    events = lab_events(release, build_rows(release, config).rows)
    code = pl.col("concept").replace_strict(range(len(LABS)), [f"LAB//{concept.name}" for concept in LABS])
    frame = events.select("subject_id", "time", code=code, numeric_value="value", text_value=pl.lit(None, pl.String))
    stays = pl.DataFrame(aces.events_of_tables(mimic_demo), EVENTS, orient="row")
    write_data(place / "meds", pl.concat([frame.select(*EVENTS).cast(pl.Schema(EVENTS)), stays]))
    known = read_events(place / "meds")
    assert sum(code.startswith(aces.DISCHARGE) for _, _, code, _, _ in known) > 200
    labels = aces.labels(known)
    for task in config.tasks:
        write_labels(place / "labels", task, labels[task], shards=4)
    (place / "mapping.yaml").write_text("labs: {codes: [LAB//]}\n")
    settings = MEDSCohortConfig(labels=str(place / "labels"), mapping=str(place / "mapping.yaml"), tasks=config.tasks)
    return native, build_meds(place / "meds", settings, place / "data", Words(min_subjects=1)), events


@pytest.mark.parametrize("landmark", ["discharge", "icu_24h"])
def test_labels_of_the_events_are_those_of_the_tables(mimic_demo: Path, landmark: Any) -> None:
    """Every row of the native cohort, its time, and each outcome; the events say nothing else."""
    release = Release.parse(database("mimic").schema, str(mimic_demo))
    config = MIMICCohortConfig(landmark=landmark)
    rows = build_rows(release, config).rows
    native = {
        (subject, at, tuple(labels))
        for subject, at, *labels in rows.select(
            "subject_id", "prediction_at", *(f"label/{task}" for task in config.tasks)
        ).iter_rows()
    }
    found = aces.of_tasks(aces.labels(aces.events_of_tables(mimic_demo)), config.tasks)
    assert found == native
    assert len(native) > 50
    for place in range(len(config.tasks)):
        assert len({labels[place] for _, _, labels in found}) == 2, "both outcomes occur"


def test_the_labels_and_presence_are_those_of_the_tables(cohorts: tuple[Path, Path, pl.DataFrame]) -> None:
    native, meds = (pl.read_parquet(folder / COHORT) for folder in cohorts[:2])
    names = ["subject_id", "^label/.*$", "split", "fold", "present/labs"]
    assert native.height > 50
    assert native.sort("subject_id").select(names).equals(meds.sort("subject_id").select(names))


def test_the_summaries_of_labs_are_those_of_the_tables(cohorts: tuple[Path, Path, pl.DataFrame]) -> None:
    native, meds, events = cohorts
    assert (events["hours"] > -3650 * 24).any(), "some events are later than the prediction"
    order = [pl.read_parquet(folder / COHORT).sort("subject_id")["row_id"].to_numpy() for folder in (native, meds)]
    found = store.read_columns(meds / MODALITIES / "labs")
    wanted = [name.removeprefix("LAB//") for name in found if name.rpartition("/")[2] in series.SUMMARIES]
    own = store.read_columns(native / MODALITIES / "labs")
    left = store.open_values(native / MODALITIES / "labs")[order[0]][:, [own.index(name) for name in wanted]]
    right = store.open_values(meds / MODALITIES / "labs")[order[1]][:, [found.index("LAB//" + name) for name in wanted]]
    # A result that was stored after the prediction is not known in the tables; MEDS has one time for both.
    landmark = pl.col("landmark_at") - FAR
    late = events.filter((pl.col("time") <= landmark) & (pl.col("stored") > landmark))
    hidden = {(row, LABS[concept].name) for row, concept in late.select("row_id", "concept").iter_rows()}
    is_known = np.array([[(row, name.split("/")[0]) not in hidden for name in wanted] for row in order[0]])
    assert len(wanted) > 300
    assert is_known.mean() > 0.99
    measured = ~np.isnan(left) & (left != 0)
    assert (measured & is_known).sum() > 5000
    np.testing.assert_allclose(left[is_known], right[is_known], rtol=2e-4, atol=2e-4)
