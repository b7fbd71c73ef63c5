"""The coma scale, temperature, cuff pressures and pain of nurses: labels, units, sums, and what is known."""

import math

import pytest

from data_modules.cohorts.build import build_cohort
from data_modules.databases.eicu.cohort import build_rows
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.registry import database
from data_modules.stage import read_json
from tests.helpers.eicu import DAY, sources_of, stay, table_of, write_release

LOST = "results without a value"
COMA, CUFF = "Glasgow coma score", "Non-Invasive BP"


def charted(label, name, value, *, at=DAY - 60, entered=None, stay_id=1):
    times = {"nursingchartoffset": at, "nursingchartentryoffset": at if entered is None else entered}
    labels = {"nursingchartcelltypevallabel": label, "nursingchartcelltypevalname": name}
    return {"patientunitstayid": stay_id, "nursingchartcelltypecat": "x", **times, **labels, "nursingchartvalue": value}


def scale(eye, verbal, motor, *, at=DAY - 60):
    return [charted(COMA, name, value, at=at) for name, value in (("Eyes", eye), ("Verbal", verbal), ("Motor", motor))]


def nursing(folder, modality, *rows):
    """Columns of stay 1, None where it is absent, and what is counted."""
    release = write_release(
        folder / "raw", [stay(1), stay(2)], nurseCharting=[*rows, charted("Heart Rate", "Heart Rate", "80", stay_id=2)]
    )
    context = sources_of(release, build_rows(release, EICUCohortConfig()).rows, folder / "scratch")
    table, present = table_of(context, modality, folder / modality)
    return table.row(0, named=True) if present[0] else None, context.counts.get(LOST, {}).get(modality, {})


@pytest.mark.parametrize(
    ("modality", "label", "name", "value", "concept", "expected"),
    [
        ("neurology", COMA, "GCS Total", "11", "gcs_total", 11),
        ("neurology", "Score (Glasgow Coma Scale)", "Value", "7", "gcs_total", 7),
        ("neurology", COMA, "Eyes", "3", "gcs_eye", 3),
        ("neurology", COMA, "Verbal", "5", "gcs_verbal", 5),
        ("neurology", COMA, "Motor", "6", "gcs_motor", 6),
        ("neurology", "RASS", "Value", "-2", "rass", -2),
        ("neurology", "RASS", "Value", "+1", "rass", 1),
        ("nurse_vitals", "Temperature", "Temperature (C)", "36.9", "temperature", 36.9),
        ("nurse_vitals", "Temperature", "Temperature (F)", "98.6", "temperature", 37),
        ("nurse_vitals", CUFF, "Non-Invasive BP Systolic", "121", "noninvasive_sbp", 121),
        ("nurse_vitals", CUFF, "Non-Invasive BP Diastolic", "70", "noninvasive_dbp", 70),
        ("nurse_vitals", CUFF, "Non-Invasive BP Mean", "87", "noninvasive_mbp", 87),
        ("nurse_vitals", "Pain Score/Goal", "Pain Score", "0", "pain_score", 0),
    ],
)
def test_a_value_belongs_to_its_label_in_its_unit(tmp_path, modality, label, name, value, concept, expected):
    found, counts = nursing(tmp_path, modality, charted(label, name, value))
    assert found[f"{concept}/last"] == pytest.approx(expected)
    assert [other for other in found if other.endswith("/count") and found[other]] == [f"{concept}/count"]
    assert counts == {}


@pytest.mark.parametrize(
    ("label", "name"),
    [(CUFF, "Non-Invasive BP"), ("Temperature", "Temperature Location"), ("Pain Score/Goal", "Pain Goal"),
     ("Invasive BP", "Non-Invasive BP Mean"), ("Heart Rate", "Heart Rate"), ("SEDATION SCORE", "Value")],
)  # fmt: skip
def test_other_labels_are_not_read(tmp_path, label, name):
    assert nursing(tmp_path, "nurse_vitals", charted(label, name, "9")) == (None, {})


def test_the_parts_add_up_where_all_were_charted_and_no_total_was(tmp_path):
    rows = [*scale("3", "4", "6", at=DAY - 180), *scale("4", "5", "6", at=DAY - 120)[1:], *scale("1", "1", "1")]
    found, _ = nursing(tmp_path, "neurology", *rows, charted(COMA, "GCS Total", "3", at=DAY - 60))
    assert [found[f"gcs_total/{part}"] for part in ("count", "first", "last")] == [2, 13, 3]
    found, _ = nursing(tmp_path / "other", "neurology", *scale("4", "5", "6"), charted(COMA, "GCS Total", "9"))
    assert [found[f"gcs_total/{part}"] for part in ("count", "last")] == [1, 9]


SEDATION = "Sedation Scale/Score/Goal"


@pytest.mark.parametrize(("scale", "rass"), [("RASS", -3), ("rass ", -3), ("Ramsay", None), ("", None), (None, None)])
def test_a_sedation_score_is_that_of_richmond_where_its_scale_says_so(tmp_path, scale, rass):
    named = [] if scale is None else [charted(SEDATION, "Sedation Scale", scale)]
    found, counts = nursing(tmp_path, "neurology", charted(SEDATION, "Sedation Score", "-3"), *named)
    assert (found and found["rass/last"]) == rass
    assert counts == {}


@pytest.mark.parametrize("scale", [{"at": DAY - 61}, {"entered": DAY + 1}, {"stay_id": 2}])
def test_a_scale_of_another_time_or_that_was_not_entered_yet_names_no_score(tmp_path, scale):
    rows = [charted(SEDATION, "Sedation Score", "-3"), charted(SEDATION, "Sedation Scale", "RASS", **scale)]
    assert nursing(tmp_path, "neurology", *rows) == (None, {})


def test_agitation_is_no_part_of_the_coma_scale(tmp_path):
    found, _ = nursing(tmp_path, "neurology", *scale("3", "4", "6"), charted("RASS", "Value", "-1"))
    assert [found[f"{name}/last"] for name in ("gcs_total", "rass")] == [13, -1]


def test_a_score_that_is_no_number_or_out_of_range_is_observed_without_a_value(tmp_path):
    rows = [charted(COMA, "GCS Total", "Unable to score due to medication"), charted(COMA, "Verbal", "9")]
    found, counts = nursing(tmp_path, "neurology", *rows)
    names = ("gcs_total", "gcs_verbal")
    assert [found[f"{name}/{part}"] for name in names for part in ("count", "observed")] == [0, 1] * 2
    assert counts == {"gcs_total unreadable": 1, "gcs_verbal out of range": 1}


def test_an_empty_cell_is_no_event(tmp_path):
    assert nursing(tmp_path, "neurology", charted(COMA, "GCS Total", "")) == (None, {})


def test_the_last_entry_by_the_landmark_holds_and_entries_that_differ_contradict_each_other(tmp_path):
    entries = [("9", DAY - 50), ("11", DAY), ("3", DAY + 1)]
    rows = [charted(COMA, "GCS Total", value, entered=entered) for value, entered in entries]
    found, _ = nursing(tmp_path / "last", "neurology", *rows)
    assert [found[f"gcs_total/{part}"] for part in ("count", "last")] == [1, 11]
    assert nursing(tmp_path / "late", "neurology", rows[-1]) == (None, {})
    after = charted(COMA, "GCS Total", "3", at=DAY + 1, entered=9)
    assert nursing(tmp_path / "after", "neurology", after) == (None, {})
    twice = [charted(COMA, "GCS Total", value) for value in ("9", "11")]
    found, counts = nursing(tmp_path / "two", "neurology", *twice)
    assert math.isnan(found["gcs_total/last"])
    assert counts == {"gcs_total contradicted": 1}


def test_without_the_table_a_line_says_that_the_modalities_are_dropped(tmp_path):
    release = write_release(tmp_path / "raw", [stay(1), stay(2)])
    config = EICUCohortConfig(index="every", modalities=["demographics", "neurology"])
    manifest = read_json(build_cohort(database("eicu"), release, config, tmp_path / "data") / "manifest.json")
    assert "neurology is dropped: nurseCharting.csv.gz is missing" in manifest["dropped"]
