"""Cultures, orders and charted values of MIMIC-IV: what is known when it was done, and what when it was stored."""

import math

import pytest

from tests.helpers.mimic_iv import admission, context_of, features_of, moment, patient, stay, write_release

ICU = {"landmark": "icu_24h", "index": "every"}
DAY, LANDMARK = moment(1), moment(2)


def cells_of(folder, modality, *, intime=DAY, **tables):
    """What the row of subject 1 gets, whose landmark is 24 h after the intime; None where the modality is absent."""
    release = write_release(
        folder / "raw",
        patients=[patient(1)],
        admissions=[admission(1, 1, moment(0), moment(9))],
        icustays=[stay(1, 1, intime, moment(8))],
        **tables,
    )
    return features_of(context_of(release, folder, **ICU), modality, folder)[1]


def culture(**cells):
    usual = {"subject_id": 1, "hadm_id": 1, "chartdate": moment(1), "charttime": moment(1, hours=9)}
    stored = {"storedate": moment(5), "storetime": moment(5, hours=9)}
    return {**usual, **stored, "spec_type_desc": "URINE", "org_name": "ESCHERICHIA COLI", **cells}


def words(found):
    return sorted(
        name.split("/", 1)[1] for name, value in found.items() if value == 1 and not name.endswith("/distinct")
    )


def cultures(folder, *rows, **settings):
    found = cells_of(folder, "microbiology", microbiologyevents=list(rows), **settings)
    return None if found is None else words(found)


BOTH_WORDS = ["organism/escherichia coli", "specimen/urine"]


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({}, ["specimen/urine"]),
        ({"storetime": LANDMARK}, BOTH_WORDS),
        ({"storetime": moment(2, seconds=1)}, ["specimen/urine"]),
        ({"storetime": "", "storedate": moment(1)}, BOTH_WORDS),
        ({"storetime": "", "storedate": LANDMARK}, ["specimen/urine"]),
        ({"storetime": "", "storedate": ""}, ["specimen/urine"]),
        ({"storetime": LANDMARK, "org_name": ""}, ["specimen/urine"]),
        ({"storetime": LANDMARK, "org_name": " Cancelled"}, ["specimen/urine"]),
    ],
)
def test_a_specimen_is_known_when_it_was_taken_and_its_organism_when_it_was_stored(tmp_path, stored, expected):
    assert cultures(tmp_path, culture(**stored)) == expected


@pytest.mark.parametrize(
    ("taken", "intime", "known"),
    [
        ({"charttime": LANDMARK}, moment(1), True),
        ({"charttime": moment(2, seconds=1)}, moment(1), False),
        ({"charttime": ""}, moment(1), True),
        ({"charttime": ""}, moment(1, seconds=-1), False),
        ({"charttime": "", "chartdate": LANDMARK}, moment(1), False),
    ],
)
def test_a_specimen_without_an_hour_is_known_when_its_day_is_over(tmp_path, taken, intime, known):
    assert (cultures(tmp_path, culture(**taken), intime=intime) is not None) == known


def drugs(folder, entries, **cells):
    """Words of an order of heparin that starts an hour before the landmark."""
    order = {"subject_id": 1, "hadm_id": 1, "pharmacy_id": 5, "starttime": moment(2, hours=-1), "drug_type": "MAIN"}
    tables = {"prescriptions": [{**order, "drug": "Heparin", **cells}]}
    if entries is not None:
        other = {"subject_id": 900, "hadm_id": 9000, "pharmacy_id": 6, "entertime": moment(1)}
        known = [{"subject_id": 1, "hadm_id": 1, "pharmacy_id": 5, "entertime": time} for time in entries]
        tables["pharmacy"] = [*known, other]
    found = cells_of(folder, "medications", **tables)
    return found and words(found)


LATE = moment(2, seconds=1)


@pytest.mark.parametrize(
    ("entries", "known"),
    [
        (None, True),
        ([], True),
        ([""], True),
        ([LANDMARK], True),
        ([LATE], False),
        ([LATE, LANDMARK], True),
        ([LANDMARK, LATE], True),
        ([LATE, LATE], False),
        (["", LATE], False),
    ],
)
def test_an_order_is_known_when_it_was_first_entered(tmp_path, entries, known):
    assert drugs(tmp_path, entries) == (["heparin"] if known else None)


@pytest.mark.parametrize("entries", [None, [moment(1)]])
def test_an_order_that_starts_after_the_landmark_is_not_known_whenever_it_was_entered(tmp_path, entries):
    assert drugs(tmp_path, entries, starttime=LATE) is None


def charted(item, number, text="", *, at=-2.0, stored=-1.0, unit=""):
    times = {"charttime": moment(2, hours=at), "storetime": moment(2, hours=stored)}
    return {"subject_id": 1, "hadm_id": 1, **times, "itemid": item, "value": text, "valuenum": number, "valueuom": unit}


def vitals(folder, *rows):
    return cells_of(folder, "vitals", chartevents=list(rows))


def test_the_verbal_score_through_a_tube_is_not_measured(tmp_path):
    found = vitals(tmp_path, charted(223900, 1, "No Response-ETT"))
    assert [found[f"gcs_verbal/{part}"] for part in ("observed", "count")] == [0, 0]
    assert math.isnan(found["gcs_verbal/last"])
    assert [found[f"intubated/{part}"] for part in ("observed", "last")] == [1, 1]


def test_the_verbal_score_without_a_tube_is_measured(tmp_path):
    found = vitals(tmp_path, charted(223900, 1, "No Response"), charted(223900, 1, "No Response-ETT", at=-5))
    assert [found[f"gcs_verbal/{part}"] for part in ("count", "last")] == [1, 1]
    assert [found[f"intubated/{part}"] for part in ("count", "first", "last")] == [2, 1, 0]


def test_a_charted_value_that_was_corrected_is_the_correction_of_the_landmark(tmp_path):
    revisions = [charted(220045, 8, stored=-1.5), charted(220045, 80, stored=0), charted(220045, 90, stored=0.1)]
    found = vitals(tmp_path, *revisions)
    assert [found[f"heart_rate/{part}"] for part in ("count", "min", "max")] == [1, 80, 80]


def test_values_of_two_items_at_one_time_are_no_corrections(tmp_path):
    found = vitals(tmp_path, charted(220179, 100, stored=-1.5), charted(220050, 120))
    assert [found[f"sbp/{part}"] for part in ("count", "last")] == [1, 110]


def test_a_charted_value_that_is_stored_after_the_landmark_is_absent(tmp_path):
    assert vitals(tmp_path, charted(220045, 80, stored=0.1)) is None
