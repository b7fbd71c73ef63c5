"""Breathing support: devices, ventilation from three kinds of record, settings, and what is known at the landmark."""

import re

import polars as pl
import pytest

from data_modules.cohorts.build import build_cohort
from data_modules.databases.eicu import respiration
from data_modules.databases.eicu.cohort import build_rows
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.registry import database
from data_modules.features.concepts import convert
from data_modules.stage import read_json
from tests.helpers.eicu import DAY, sources_of, stay, table_of, write_release

LOST = "results without a value"
MECHANICAL = "pulmonary|ventilation and oxygenation|mechanical ventilation"
MASK = "pulmonary|ventilation and oxygenation|non-invasive ventilation"


def charted(label, value, *, at=DAY - 60, entered=None, stay_id=1):
    times = {"respchartoffset": at, "respchartentryoffset": at if entered is None else entered}
    return {"patientunitstayid": stay_id, **times, "respchartvaluelabel": label, "respchartvalue": value}


def treated(string, *, at=DAY - 60, stay_id=1):
    return {"patientunitstayid": stay_id, "treatmentoffset": at, "treatmentstring": string}


def breathing(folder, *rows, treatments=()):
    """Columns of stay 1, None where it is absent, and what is counted."""
    tables = {"respiratoryCharting": [*rows, charted("Humidity", "x", stay_id=2)]}
    tables |= {"treatment": [*treatments, treated("renal|dialysis", stay_id=2)]} if treatments is not None else {}
    release = write_release(folder / "raw", [stay(1), stay(2)], **tables)
    context = sources_of(release, build_rows(release, EICUCohortConfig()).rows, folder / "scratch")
    table, present = table_of(context, "respiration", folder / "respiration")
    counts = context.counts.get(LOST, {}).get("respiration", {})
    return table.row(0, named=True) if present[0] else None, counts


def of_kinds(found):
    """Last value of invasive and of noninvasive ventilation; nothing where none is known."""
    names = ("ventilated", "noninvasive_ventilation")
    return [found[f"{name}/last"] for name in names if found[f"{name}/count"]]


def ventilation(folder, *rows, **more):
    """`of_kinds`; None where the modality is absent."""
    found, _ = breathing(folder, *rows, **more)
    return None if found is None else of_kinds(found)


@pytest.mark.parametrize(
    ("label", "text", "device", "ventilated"),
    [
        ("O2 Device", "Ventilator", "ventilator", [1, 0]),
        ("Oxygen Delivery Method", "Mechanical ventilator ", "ventilator", [1, 0]),
        ("O2 Device", "Bi-PAP", "pressure_mask", [0, 1]),
        ("O2 Device", "None (Room air)", "none", [0, 0]),
        ("O2 Device", "Non-rebreather mask", "mask", [0, 0]),
        ("O2 Device", "High flow nasal cannula", "high_flow", [0, 0]),
        ("Oxygen Delivery Method", "Nasal cannula", "nasal_cannula", [0, 0]),
        ("O2 Device", "Trach collar", "tracheostomy", []),
    ],
)
def test_a_device_says_what_it_is_and_whether_it_ventilates(tmp_path, label, text, device, ventilated):
    found, counts = breathing(tmp_path, charted(label, text))
    devices = [name for name, value in found.items() if re.fullmatch("device_.*/last", name) and value == 1]
    assert devices == [f"device_{device}/last"]
    assert of_kinds(found) == ventilated
    assert counts == {}


@pytest.mark.parametrize("text", ["Other (Comment)", "Ambubag", "", "7"])
def test_a_device_that_is_not_listed_says_nothing(tmp_path, text):
    assert breathing(tmp_path, charted("O2 Device", text)) == (None, {})


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (charted("RT Vent On/Off", "Continued"), [1, 0]),
        (charted("RT Vent On/Off", "Off"), [0, 0]),
        (charted("RT Vent On/Off", "Suspended"), None),
        (charted("Vent Rate", "16"), [1, 0]),
        (charted("Tidal Volume (set)", "450"), [1, 0]),
        (charted("Tidal Volume (set)", "0"), None),
        (charted("NIV Setting EPAP", "5"), [0, 1]),
        (charted("Mechanical Ventilator Mode", "AC/CMV"), [1, 0]),
        (charted("Ventilator Support Mode", "Spontaneous"), None),
        (charted("Non-invasive Ventilation Mode", "S/T"), [0, 1]),
        (charted("PEEP", "5"), []),
        (charted("LPM O2", "2"), []),
    ],
)
def test_a_switch_and_settings_say_whether_a_machine_ventilates(tmp_path, row, expected):
    assert ventilation(tmp_path, row) == expected


@pytest.mark.parametrize(
    ("string", "expected"),
    [
        (MECHANICAL, [1, 0]),
        (f"{MECHANICAL}|assist controlled", [1, 0]),
        ("surgery|pulmonary therapies|ventilator weaning", [1, 0]),
        (MASK, [0, 1]),
        (f"{MECHANICAL}|non-invasive ventilation|face mask", [0, 1]),
        ("pulmonary|ventilation and oxygenation|oxygen therapy (> 60%)", None),
        ("pulmonary|radiologic procedures / bronchoscopy|pulmonary ventilation perfusion study", None),
    ],
)
def test_a_treatment_says_that_a_machine_ventilates_and_never_that_none_does(tmp_path, string, expected):
    assert ventilation(tmp_path, treatments=[treated(string)]) == expected
    assert ventilation(tmp_path / "late", treatments=[treated(string, at=DAY + 1)]) is None


def test_records_that_contradict_each_other_have_no_value(tmp_path):
    rows = [charted("RT Vent On/Off", "Off"), charted("Vent Rate", "16")]
    found, counts = breathing(tmp_path, *rows)
    assert [found[f"ventilated/{part}"] for part in ("count", "observed")] == [0, 1]
    assert counts["ventilated contradicted"] == 1


@pytest.mark.parametrize(
    ("label", "value", "concept", "expected"),
    [
        ("LPM O2", "2", "oxygen_flow", 2), ("PEEP", "5", "peep_set", 5), ("PEEP/CPAP", "8", "peep_set", 8),
        ("Pressure Support", "0", "pressure_support", 0), ("Plateau Pressure", "21", "plateau_pressure", 21),
        ("Exhaled TV (patient)", "480", "tidal_volume_spontaneous", 480),
        ("Total RR", "18", "respiratory_rate_total", 18),
        ("Spontaneous Respiratory Rate", "0", "respiratory_rate_spontaneous", 0),
        ("Tidal Volume, Delivered", "490", "tidal_volume", 490),
        ("NIV Pt/Vent Spont_TidalV", "640", "tidal_volume_spontaneous", 640),
        ("Exhaled MV", "9.6", "minute_volume", 9.6),
    ],
)  # fmt: skip
def test_numbers_by_label(tmp_path, label, value, concept, expected):
    found, counts = breathing(tmp_path, charted(label, value))
    assert found[f"{concept}/last"] == pytest.approx(expected)
    assert counts == {}


def test_a_number_out_of_range_is_observed_without_a_value_and_counted(tmp_path):
    found, counts = breathing(tmp_path, charted("PEEP", "500"), charted("Exhaled TV (patient)", "0.35"))
    names = ("peep_set", "tidal_volume_spontaneous")
    assert [found[f"{name}/{part}"] for name in names for part in ("count", "observed")] == [0, 1] * 2
    assert counts == {f"{name} out of range": 1 for name in names}


def test_the_last_entry_of_a_minute_holds_and_later_ones_are_absent(tmp_path):
    entries = [("5", DAY - 9), ("8", DAY), ("12", DAY + 1)]
    rows = [charted("PEEP", value, entered=entered) for value, entered in entries]
    found, _ = breathing(tmp_path, *rows, charted("PEEP", "14", at=DAY + 1))
    assert [found[f"peep_set/{part}"] for part in ("count", "last")] == [1, 8]
    assert breathing(tmp_path / "late", rows[-1]) == (None, {})


def test_without_treatment_a_line_says_what_is_not_known(tmp_path):
    assert ventilation(tmp_path / "one", charted("Vent Rate", "16"), treatments=None) == [1, 0]
    release = write_release(tmp_path / "raw", [stay(1), stay(2)], respiratoryCharting=[charted("Vent Rate", "16")])
    config = EICUCohortConfig(index="every", modalities=["respiration"])
    manifest = read_json(build_cohort(database("eicu"), release, config, tmp_path / "data") / "manifest.json")
    line = "respiration: treatment.csv.gz is missing, so ventilation is known from respiratoryCharting alone"
    assert manifest["dropped"][0] == line


@pytest.mark.parametrize(
    ("number", "expected"),
    [(20, 20), (100, 100), (0.4, 40), (1, 100), (19, None), (101, None), (0.19, None), (0, None)],
)
def test_inspired_oxygen_of_the_scores_is_at_least_that_of_air_and_at_most_all(number, expected):
    schema = {"name": pl.String, "number": pl.Float64, "unit": pl.String, "text": pl.String}
    charted = pl.LazyFrame([("O2 Percentage", number, None, str(number))], schema, orient="row")
    assert convert(charted, respiration.RECORDED).collect()["value"].to_list() == [expected]
