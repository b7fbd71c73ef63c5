"""Events long before the stay, or under the admission of another subject, are left out and counted by table."""

from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from data_modules.cohorts.build import build_cohort
from data_modules.databases.eicu import events as eicu_events
from data_modules.databases.eicu.cohort import build_rows
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.eicu.tables import EICU as EICU_SCHEMA
from data_modules.databases.mimic_iv import events as mimic_events
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.mimic_iv.linking import REASONS
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.databases.registry import database
from data_modules.stage import read_json
from tests.helpers import eicu
from tests.helpers.mimic_iv import Row, admission, context_of, features_of, moment, patient, write_release

OTHER_SUBJECT, EARLY = REASONS
MIMIC: dict[str, tuple[str, str, dict[str, Any]]] = {
    "labevents": ("labs", "charttime", {"itemid": 50912, "valuenum": 1.5, "specimen_id": 5}),
    "chartevents": ("vitals", "charttime", {"itemid": 220045, "valuenum": 80}),
    "prescriptions": ("medications", "starttime", {"drug_type": "MAIN", "drug": "Heparin", "pharmacy_id": 5}),
    "procedureevents": ("procedures", "starttime", {"itemid": 225792}),
    "microbiologyevents": ("microbiology", "chartdate", {"spec_type_desc": "URINE"}),
    "discharge_notes": ("discharge_note", "charttime", {"note_id": "a", "text": "a"}),
    "radiology_notes": ("radiology_report", "charttime", {"note_id": "a", "text": "a"}),
}
"""Table of MIMIC-IV -> its modality, the time of its events, and other cells of one."""
UNDATED = {"diagnoses_icd", "drgcodes", "cxr_metadata"}
"""Tables of modalities that have no hadm_id beside a time."""
LAST_DAY = {"inputevents", "outputevents"}
"""Tables of which the last 24 h are read (mimic_iv/test_support.py)."""
BY_HOURS = {"edstays", "triage", "ed_vitalsign", "ecg_measurements"}
"""Tables that are linked by the hours of an admission where they name none (mimic_iv/test_emergency_and_ecg.py)."""
ADMITTED = moment(10)


def mimic(folder, table, at, *, subject=1, hadm=1, charttime=None, **cells):
    """Whether admissions 1 and 2, of subjects 1 and 2, have one event of a table; and what is counted."""
    modality, time, others = MIMIC[table]
    filler = {"subject_id": 900, "hadm_id": 9000, time: moment(2), **others, "note_id": "z"}
    event = {"subject_id": subject, "hadm_id": hadm, time: at, **others}
    if charttime is not None:
        event["charttime"] = charttime
    columns = MIMIC_IV.tables[table].columns
    rows: list[Row] = [{name: cell for name, cell in row.items() if name in columns} for row in (event, filler)]
    release = write_release(
        folder / "raw",
        patients=[patient(1), patient(2)],
        admissions=[admission(one, one, ADMITTED, moment(20), **cells) for one in (1, 2)],
        **{table: rows},
    )
    context = context_of(release, folder, landmark="discharge", index="every")
    found = present(context, modality, folder)
    return [found[one] for one in (1, 2)], context.counts.get(mimic_events.LEFT_OUT, {})


def present(context, modality, folder):
    """hadm_id -> whether the modality is present."""
    definition = database("mimic").modalities[modality]
    if definition.files is None:
        return {hadm: cells is not None for hadm, cells in features_of(context, modality, folder).items()}
    written = set(definition.files(context, folder / modality))
    return {hadm: row in written for row, hadm in context.rows.select("row_id", "hadm_id").iter_rows()}


@pytest.mark.parametrize("table", MIMIC)
def test_an_event_of_mimic_iv_is_at_most_a_day_before_its_admission(tmp_path, table):
    day_before = ADMITTED - timedelta(hours=24)
    assert mimic(tmp_path / "on", table, day_before) == ([True, False], {})
    for name, early in (("just", timedelta(seconds=1)), ("year", timedelta(days=365))):
        expected = ([False, False], {table: {EARLY: 1}})
        assert mimic(tmp_path / name, table, day_before - early) == expected


@pytest.mark.parametrize("table", MIMIC)
def test_an_event_under_the_admission_of_another_subject_belongs_to_neither(tmp_path, table):
    found = mimic(tmp_path, table, moment(12), subject=1, hadm=2)
    assert found == ([False, False], {table: {OTHER_SUBJECT: 1}})


def test_the_day_before_an_admission_begins_at_the_arrival_in_the_emergency_department(tmp_path):
    arrival = {"edregtime": moment(9, hours=12)}
    assert mimic(tmp_path / "on", "labevents", moment(8, hours=12), **arrival) == ([True, False], {})
    assert mimic(tmp_path / "off", "labevents", moment(8, hours=11), **arrival)[0] == [False, False]


@pytest.mark.parametrize(("hours", "known"), [(12, True), (11, False)])
def test_a_specimen_is_left_out_by_the_hour_at_which_it_was_taken_and_not_by_its_date(tmp_path, hours, known):
    times = {"charttime": moment(8, hours=hours), "edregtime": moment(9, hours=12)}
    expected = {} if known else {"microbiologyevents": {EARLY: 1}}
    assert mimic(tmp_path, "microbiologyevents", moment(8), **times) == ([known, False], expected)


def test_every_dated_table_of_mimic_iv_that_a_modality_needs_is_tested_here():
    needed = {table for one in database("mimic").modalities.values() for table in one.tables}
    assert needed == set(MIMIC) | UNDATED | LAST_DAY | BY_HOURS


OFFSETS = {
    table: next(name for name in columns if name.endswith("offset"))
    for table, columns in eicu_events.READ.items()
    if table != "patient" and any(name.endswith("offset") for name in columns)
}
"""Table of eICU -> the offset of its events, which is read first."""
MEASURED: dict[str, dict[str, Any]] = {
    "lab": {"labname": "creatinine", "labresult": 1.5, "labresulttext": "", "labmeasurenameinterface": "mg/dL"},
    "intakeOutput": {"cellpath": "flowsheet|Flowsheet Cell Labels|I&O|Output (ml)|Urine"},
    "nurseCharting": {
        "nursingchartcelltypevallabel": "Glasgow coma score",
        "nursingchartcelltypevalname": "GCS Total",
        "nursingchartvalue": "9",
    },
    "respiratoryCharting": {"respchartvaluelabel": "FiO2", "respchartvalue": "40"},
}
HOURLY = {"intakeOutput", "respiratoryCharting"}
"""Tables that only modalities of the last 24 h read."""
DAY = eicu.DAY


def event(table, stay, at):
    """A row of any table with a time: every column that is read is filled, and every offset is the same."""
    columns = EICU_SCHEMA.tables[table].columns
    filled = {name: "one/two|three" if columns[name] == pl.String else 60 for name in eicu_events.READ[table]}
    offsets = {name: at for name in filled if name.endswith("offset")}
    return {**filled, **offsets, "patientunitstayid": stay, **MEASURED.get(table, {})}


def reading(table):
    """The modality of eICU that reads a table and the fewest others."""
    found = [name for name, one in database("eicu").modalities.items() if table in one.tables]
    return min(found, key=lambda name: (len(database("eicu").modalities[name].tables), name.startswith("harmonised")))


def eicu_counts(folder, table, at, **cells):
    """Whether stay 1 has one event of a table; and what is counted."""
    modality = database("eicu").modalities[reading(table)]
    tables = {name: [event(name, 2, 60)] for name in modality.tables}
    tables[table].append(event(table, 1, at))
    release = eicu.write_release(folder / "raw", [eicu.stay(1, **cells), eicu.stay(2)], **tables)
    rows = build_rows(release, EICUCohortConfig(index="every")).rows
    context = eicu.sources_of(release, rows, folder / "scratch")
    if modality.files is not None:
        found = 0 in set(modality.files(context, folder / "files"))
    elif table in HOURLY:
        modality.block(context)
        found = 0 in eicu_events.known(context, table, OFFSETS[table]).collect()["row_id"]
    else:
        found = eicu.table_of(context, reading(table), folder / "table")[1][0]
    return found, context.counts.get(eicu_events.LEFT_OUT, {})


@pytest.mark.parametrize("table", OFFSETS)
def test_an_event_of_eicu_is_at_most_a_week_before_its_hospital_stay(tmp_path, table):
    earliest = -600 - 7 * DAY
    assert eicu_counts(tmp_path / "on", table, earliest, begins=600) == (True, {})
    for name, at in (("just", earliest - 1), ("far", -500_000)):
        assert eicu_counts(tmp_path / name, table, at, begins=600) == (False, {table: {eicu_events.TOO_EARLY: 1}})


@pytest.mark.parametrize("admitted", ["", 300, 0])
def test_without_an_earlier_admission_the_week_begins_with_the_unit(tmp_path, admitted):
    on = eicu_counts(tmp_path / "on", "lab", -7 * DAY, hospitaladmitoffset=admitted)
    off = eicu_counts(tmp_path / "off", "lab", -7 * DAY - 1, hospitaladmitoffset=admitted)
    assert [on[0], off[0]] == [True, False]


def test_every_table_of_eicu_with_a_time_is_tested_here():
    timed = {name for name in eicu_events.READ if EICU_SCHEMA.tables[name].event_at}
    assert set(OFFSETS) == timed
    assert all(EICU_SCHEMA.tables[name].event_at == offset for name, offset in OFFSETS.items())


def counted(config, release, name, folder):
    data = build_cohort(database(name), release, config, folder / "data")
    return read_json(data / "manifest.json")["counts"]["events left out"]


def test_the_manifest_of_mimic_iv_counts_them_by_table(tmp_path):
    labs: list[Row] = [
        {"subject_id": subject, "hadm_id": 1, "itemid": 50912, "valuenum": 1.5, "charttime": at}
        for subject, at in ((1, moment(12)), (1, moment(1)), (2, moment(12)), (2, moment(1)))
    ]
    subjects = range(1, 61)
    release = write_release(
        tmp_path / "raw",
        patients=[patient(one) for one in subjects],
        admissions=[admission(one, one, ADMITTED, moment(20)) for one in subjects],
        labevents=labs,
    )
    config = MIMICCohortConfig(modalities=["labs"], tasks=["mortality_180d"])
    assert counted(config, release, "mimic", tmp_path) == {"labevents": {OTHER_SUBJECT: 2, EARLY: 1}}


def test_the_manifest_of_eicu_counts_them_by_table(tmp_path):
    tables = {name: [event(name, 1, 60), event(name, 2, -DAY * 9)] for name in ("lab", "treatment")}
    release = eicu.write_release(tmp_path / "raw", [eicu.stay(one) for one in range(1, 61)], **tables)
    config = EICUCohortConfig(modalities=["labs", "treatments"])
    expected = {table: {eicu_events.TOO_EARLY: 1} for table in tables}
    assert counted(config, release, "eicu", tmp_path) == expected
