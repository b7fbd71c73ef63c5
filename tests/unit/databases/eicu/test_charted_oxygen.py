"""Oxygen that respiratory care charted: revisions, and gases of the same time."""

import pytest

from data_modules.databases.eicu.cohort import build_rows
from data_modules.databases.eicu.config import EICUCohortConfig
from tests.helpers.drawn import EICU, Drawn, eicu_row
from tests.helpers.eicu import DAY, sources_of, stay, table_of, write_release


def charted(value, entered, *, at=DAY - 60):
    cells = {"patientunitstayid": 1, "respchartoffset": at, "respchartentryoffset": entered}
    return {**cells, "respchartvaluelabel": "FiO2", "respchartvalue": value}


def oxygen(folder, *rows, labs=()):
    """Count, last value and whether one was observed, of stay 1; None where there is none."""
    gases = [eicu_row(number, lab) for number, lab in enumerate((*labs, Drawn(row=2, number=1)))]
    filler = {**charted("30", 10), "patientunitstayid": 2}
    release = write_release(folder / "raw", [stay(1), stay(2)], lab=gases, respiratoryCharting=[*rows, filler])
    context = sources_of(release, build_rows(release, EICUCohortConfig(**EICU)).rows, folder / "scratch")
    table, present = table_of(context, "harmonised_oxygen", folder / "oxygen")
    return [table[f"fio2/{part}"][0] for part in ("count", "last", "observed")] if present[0] else None


def test_the_last_entry_by_the_landmark_holds(tmp_path):
    entries = [charted("40", DAY - 50), charted("60 %", DAY), charted("50", DAY - 40), charted("99", DAY + 1)]
    assert oxygen(tmp_path, *entries) == [1, 60, 1]


def test_entries_of_one_minute_that_differ_contradict_each_other(tmp_path):
    assert oxygen(tmp_path / "two", charted("40", 9), charted("50", 9))[::2] == [0, 1]
    assert oxygen(tmp_path / "three", charted("40", 9), charted("50", 9), charted("60", 8)) == [1, 60, 1]


def test_an_entry_after_the_landmark_is_absent(tmp_path):
    assert oxygen(tmp_path, charted("40", DAY + 1)) is None


@pytest.mark.parametrize(("stored", "expected"), [(-1, [1, 50, 1]), (1, [1, 40, 1])])
def test_a_gas_of_the_same_time_revises_no_entry_and_counts_when_it_is_stored(tmp_path, stored, expected):
    gas = Drawn(name="fio2", at=-1, stored=stored, number=60)
    assert oxygen(tmp_path, charted("40", DAY - 5), labs=[gas]) == expected


def test_a_gas_that_is_stored_after_the_landmark_is_absent(tmp_path):
    assert oxygen(tmp_path, labs=[Drawn(name="fio2", at=-1, stored=1, number=60)]) is None
