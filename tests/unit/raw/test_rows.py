"""Rows that contradict the release's own rules."""

import json
from datetime import timedelta

import polars as pl
import pytest


@pytest.mark.parametrize(
    ("name", "key"), [("patients", "subject_id"), ("admissions", "hadm_id"), ("icustays", "stay_id")]
)
def test_a_repeated_key_is_counted_and_refused(synthetic, refused, name, key):
    synthetic.rows[name] += synthetic.rows[name][:2]
    message = refused(synthetic.write(name))
    assert f"{synthetic.path(name)}: key {key!r} repeats in 2 of {len(synthetic.rows[name])} rows" in message
    assert "remove the repeated rows" in message


def _reverse(synthetic, count):
    for row in synthetic.rows["admissions"][:count]:
        row["dischtime"] = row["admittime"] - timedelta(hours=1)
    return synthetic.write("admissions")


def test_a_few_discharges_before_admission_are_dropped_and_counted(synthetic, build):
    folder = build(_reverse(synthetic, 2), max_reversed_share=2 / 120, index="every")
    counts = json.loads((folder / "manifest.json").read_text())["attrition"]
    assert [row["rows"] for row in counts[:3]] == [120, 120, 118]
    kept = pl.read_parquet(folder / "cohort.parquet")["admission_id"]
    assert not set(kept) & {row["hadm_id"] for row in synthetic.rows["admissions"][:2]}


def test_many_discharges_before_admission_are_refused_with_their_count(synthetic, refused):
    message = refused(_reverse(synthetic, 3), max_reversed_share=2 / 120)
    assert f"{synthetic.path('admissions')}: column 'dischtime' is before 'admittime' in 3 of 120 rows" in message
    assert "cohort.max_reversed_share" in message


def test_an_empty_cohort_names_the_rule_that_emptied_it(synthetic, refused):
    message = refused(synthetic, min_age=99)
    assert "no rows are left after the rule 'age >= 99'" in message
    assert "elax the rules under cohort." in message


def test_patients_of_another_release_leave_an_empty_cohort_and_not_a_crash(synthetic, refused):
    for row in synthetic.rows["patients"]:
        row["subject_id"] += 1000
    assert "no rows are left" in refused(synthetic.write("patients"))
