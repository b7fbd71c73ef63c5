"""What became known after the landmark of a row changes not one bit of it (method.md 5)."""

from datetime import timedelta
from functools import cache

import polars as pl
import pytest

from data_modules.cohorts import pretraining
from data_modules.cohorts.config import SplitConfig
from data_modules.databases.mimic_iv.cohort import build_rows
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.mimic_iv.further import FURTHER
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.databases.registry import database
from data_modules.raw.reader import Release
from tests.helpers.mimic_iv import admission, moment, patient, stay, write_release
from tests.helpers.mutilation import features, mutilate, sources_at

TABLES = ["demographics", "labs", "vitals", "medications", "microbiology", "procedures", *FURTHER]
HARMONISED = [
    name for name, entry in database("mimic").modalities.items() if name.startswith("harmonised_") and entry.block
]
NOTHING = {("discharge_note", 0.0), ("present/discharge_note", 0.0)}
"""Without a grace no summary of these releases is stored in time."""
LANDMARKS = {"discharge": ["readmission_30d"], "icu_24h": ["in_hospital_mortality"]}


def every_row(release, **settings):
    """The first row of every subject, and its others, which only pre-training reads; in the order of time."""
    built = build_rows(release, MIMICCohortConfig(index="first", pretraining_rows=True, **settings))
    extra = pretraining.select(built, SplitConfig(train=1, calibration=0, val=0, test=0)).rows
    rows = pl.concat([built.rows, extra], how="diagonal").sort("subject_id", "admittime", "hadm_id")
    return rows.with_columns(pl.col("split").is_not_null().alias("extra"))


PLACES = {"first": pl.lit(0), "middle": pl.len() // 2, "last": pl.len() - 1}


def is_at(place):
    """Whether a row is the first, the middle or the last one of its subject."""
    return (pl.int_range(pl.len()) == PLACES[place]).over("subject_id")


def numbered(rows):
    return rows.drop("row_id").with_row_index("row_id")


def one_row_a_subject(rows, place):
    """The first, middle or last row of every subject, renumbered."""
    chosen = rows.filter(is_at(place))
    assert chosen["subject_id"].is_unique().all()
    return numbered(chosen)


def features_of_all(release, rows, names, folder):
    """Features of rows from the whole release, and the vocabularies."""
    folder.mkdir(exist_ok=True)
    return features(sources_at(release, rows, folder / "a", {}, names), names, folder / "whole")


def features_of_what_is_left(release, rows, names, vocabularies, folder, cut):
    """Features of rows from what is left of a release at `cut`, a time of each, and what was deleted."""
    folder.mkdir(exist_ok=True)
    mutilated, counts = mutilate(release, rows.select("subject_id", landmark_at=cut), folder / "release")
    left, _ = features(sources_at(mutilated, rows, folder / "b", vocabularies, names), names, folder / "left")
    return left, counts


@pytest.fixture(scope="module")
def undisturbed(mimic_demo_roots, tmp_path_factory):
    """Landmark -> the demo, the rows of it that the tests ask for, and everything that these get, read once."""
    release = Release.parse(MIMIC_IV, mimic_demo_roots)

    @cache
    def found(landmark):
        rows = every_row(release, landmark=landmark, tasks=LANDMARKS[landmark])
        rows = rows.with_columns(is_at(place).alias(place) for place in PLACES)
        rows = numbered(rows.filter(pl.col("first") | pl.col("middle")))
        names = [*TABLES, *HARMONISED]
        return release, rows, *features_of_all(release, rows, names, tmp_path_factory.mktemp(landmark))

    return found


def of_rows(content, rows):
    """What some of the rows get of a modality; its columns are those of all."""
    return [content[row] for row in rows["row_id"]]


@pytest.mark.demo
@pytest.mark.parametrize("place", ["first", "middle"])
@pytest.mark.parametrize("landmark", LANDMARKS)
def test_a_row_of_the_demo_is_bit_identical_without_its_future(undisturbed, tmp_path, landmark, place):
    release, rows, whole, vocabularies = undisturbed(landmark)
    rows = rows.filter(pl.col(place))
    assert rows["subject_id"].is_unique().all()
    assert place == "first" or rows["extra"].sum() > 10
    names = [*TABLES, *HARMONISED]
    left, counts = features_of_what_is_left(release, numbered(rows), names, vocabularies, tmp_path, rows["landmark_at"])
    assert rows.height >= 80
    assert counts["labevents"] > 1_000
    assert counts["admissions" if place == "first" else "labevents"] > 50
    for name, content in whole.items():
        assert left[name] == (content if name.startswith("columns/") else of_rows(content, rows)), name


@pytest.mark.demo
def test_deleting_twelve_hours_more_than_the_future_is_noticed_in_every_table(undisturbed, tmp_path):
    release, rows, whole, vocabularies = undisturbed("icu_24h")
    rows = rows.filter("first", pl.col("admittime") < pl.col("landmark_at") - timedelta(hours=12))
    earlier = rows["landmark_at"] - timedelta(hours=12)
    left, _ = features_of_what_is_left(release, numbered(rows), TABLES[1:], vocabularies, tmp_path, earlier)
    for name in TABLES[1:]:
        assert left[name] != of_rows(whole[name], rows), name


def notes(subject, first, hadm, days, kind):
    """Notes charted every quarter of a day, stored at once, later, or never."""
    return [
        {
            "note_id": f"{subject}-{kind}-{first + number}",
            "subject_id": subject,
            "hadm_id": hadm if number % 3 else "",
            "charttime": moment(day),
            "storetime": [moment(day), moment(day + 0.4), ""][number % 3],
            "text": f"note {number},\nof subject {subject}",
        }
        for number, day in enumerate(days)
    ]


def images(subject, days):
    for number, day in enumerate(days):
        taken = moment(day)
        yield {
            "dicom_id": f"{subject}-{number}",
            "subject_id": subject,
            "study_id": 100 * subject + number,
            "ViewPosition": "AP",
            "StudyDate": f"{taken:%Y%m%d}",
            "StudyTime": f"{int(f'{taken:%H%M%S}')}.25",
        }


@pytest.fixture
def hospital(tmp_path):
    """Five subjects with three admissions each, with notes and images in and between them."""
    quarters = [quarter / 4 for quarter in range(4 * 45)]
    subjects = range(1, 6)
    admissions, stays, summaries, reports, pictures = [], [], [], [], []
    for subject in subjects:
        for turn in range(3):
            hadm, begin = 10 * subject + turn, 1 + 12 * turn + subject / 8
            admissions.append(
                admission(subject, hadm, moment(begin), moment(begin + 6 + turn), edregtime=moment(begin - 0.6))
            )
            stays.append(stay(subject, hadm, moment(begin + 1), moment(begin + 4)))
            around = [begin + 5 + turn + step / 2 for step in range(12)]
            summaries += notes(subject, 1000 * turn, hadm, [float(int(day)) for day in around], "DS")
            reports += notes(subject, 1000 * turn, hadm, [begin + step / 3 for step in range(20)], "RR")
        reports += notes(subject, 9000, "", quarters, "RR")
        pictures += images(subject, quarters)
    return write_release(
        tmp_path / "hospital",
        patients=[patient(subject) for subject in subjects],
        admissions=admissions,
        icustays=stays,
        discharge_notes=summaries,
        radiology_notes=reports,
        cxr_metadata=pictures,
    )


@pytest.mark.parametrize("place", ["first", "middle", "last"])
@pytest.mark.parametrize(("landmark", "grace"), [("discharge", 0.0), ("discharge", 72.0), ("icu_24h", 0.0)])
def test_notes_and_images_of_a_row_are_identical_without_its_future(hospital, tmp_path, landmark, grace, place):
    every = every_row(hospital, landmark=landmark, tasks=LANDMARKS[landmark], note_grace_hours=grace)
    rows = one_row_a_subject(every.filter(pl.col("subject_id") < 900), place)
    assert rows["extra"].all() == (place != "first")
    at_landmark = ["demographics", "radiology_report", "cxr"]
    parts = [(at_landmark, "landmark_at")]
    if landmark == "discharge":
        parts.append((["discharge_note"], "prediction_at"))
    for names, time in parts:
        folder = tmp_path / time
        whole, vocabularies = features_of_all(hospital, rows, names, folder)
        left, counts = features_of_what_is_left(hospital, rows, names, vocabularies, folder, rows[time])
        assert min(counts["radiology_notes"], counts["discharge_notes"], counts["cxr_metadata"]) > 5
        for name, content in whole.items():
            assert left[name] == content, name
            assert content or (name, grace) in NOTHING, name
