"""Features of the open demo, a second time: plain loops over the rows of the csv files."""

import csv
import gzip
import math
from collections import defaultdict

import pytest

from data_modules.databases.eicu.concepts import APERIODIC, LABS, PERIODIC
from data_modules.databases.eicu.events import CONDITIONS, PHYSIOLOGY
from data_modules.databases.eicu.tables import EICU
from data_modules.raw.reader import Release
from tests.helpers.eicu import features_of

pytestmark = pytest.mark.demo
EVERY = {"index": "every", "landmark": "unit_24h"}
DAY = 1440


def by_stay(file):
    stays = defaultdict(list)
    with gzip.open(file, "rt", encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            stays[int(row["patientunitstayid"])].append(row)
    return stays


FACTORS = {
    ("crp", "mg/dl"): 10, ("crp", "mg/l"): 1, ("magnesium", "meq/l"): 1.215, ("mchc", "%"): 1,
}  # fmt: skip
"""Concept and recorded unit -> factor, where it is not that of the concept itself."""
UNKNOWN = {("basophils", "ug/l"), ("rbc", "%"), ("rbc", "10"), ("wbc", "10"), ("platelets", "10")}


def in_concept_s_unit(concept, value, unit):
    """The value in the unit of the concept; None where the unit is another quantity's."""
    unit = unit.strip().lower()
    if (concept.name, unit) in UNKNOWN:
        return None
    value *= FACTORS.get((concept.name, unit), 1.0)
    if concept.fraction and value <= 1:
        value *= 100
    if concept.above and value > concept.above[0]:
        value = value * concept.above[1] + concept.above[2]
    return value


def number(text):
    """The number that a text is, or the limit that it states."""
    try:
        return float(text.strip().lstrip("<>"))
    except ValueError:
        return None


def reading(concept, row):
    """The value of a lab in the unit of its concept; None without one."""
    interface = row["labmeasurenameinterface"] or row["labmeasurenamesystem"]
    text = number(row["labresulttext"])
    if not row["labresult"]:
        readings = [(text, interface)]
    elif text is not None and abs(text - float(row["labresult"])) > 0.005 * abs(float(row["labresult"])) + 1e-6:
        readings = [(float(row["labresult"]), row["labmeasurenamesystem"] or interface), (text, interface)]
    else:
        readings = [(float(row["labresult"]), interface)]
    for value, unit in readings:
        found = None if value is None else in_concept_s_unit(concept, value * sign(concept, row), unit)
        if found is not None and concept.low <= found <= concept.high:
            return found
    return None


def sign(concept, row):
    return -1 if row["labname"] in concept.negated else 1


def summary(moments):
    """minute -> value, as the columns of a concept."""
    times = sorted(moments)
    values = [moments[time] for time in times]
    reported: dict[str, float] = {"count": len(values)}
    if values:
        reported["observed"] = 1.0
        reported |= {"first": values[0], "last": values[-1], "min": min(values), "max": max(values)}
        reported |= {"mean": sum(values) / len(values), "hours_since_last": (DAY - times[-1]) / 60}
    if len(values) > 1:
        centre = sum(times) / len(times) / 60
        spread = sum((time / 60 - centre) ** 2 for time in times)
        reported["slope"] = (
            sum((time / 60 - centre) * (value - reported["mean"]) for time, value in moments.items()) / spread
        )
    return reported


def agrees(found, name, moments):
    for part, value in summary(moments).items():
        assert found[f"{name}/{part}"] == pytest.approx(value, rel=1e-4, abs=1e-3), (name, part)
    if not moments:
        assert math.isnan(found[f"{name}/mean"])


def lab_moments(rows, concept):
    """The rule of the labs: drawn in the stay, known, uncontradicted, plausible, revised last; labels are averaged.

    Returns:
        Minute -> value; and the minutes at which one was drawn.
    """
    revisions, drawn = defaultdict(set), set()
    for row in rows:
        at, revised = int(row["labresultoffset"]), int(row["labresultrevisedoffset"] or row["labresultoffset"])
        refused = row["labmeasurenameinterface"].strip().lower() in {"lpm", "l/min"} and concept.name == "fio2"
        if row["labname"] not in concept.names or at > DAY or refused:
            continue
        drawn.add(at)
        value = reading(concept, row)
        if revised <= DAY and value is not None:
            revisions[row["labname"], at, revised].add(value)
    latest = {}
    for (label, at, _), values in sorted(revisions.items()):
        if len(values) == 1:
            latest[label, at] = min(values)
    times = defaultdict(list)
    for (_, at), value in latest.items():
        times[at].append(value)
    return {at: sum(values) / len(values) for at, values in times.items()}, drawn


@pytest.mark.parametrize("folder", ["subset_100_patients", "reconstructed_from_yaib"])
def test_labs_agree_with_loops(eicu_demo, tmp_path, folder):
    release = Release(EICU, [eicu_demo, eicu_demo / folder])
    stays = by_stay(eicu_demo / folder / "lab.csv.gz")
    found = features_of(release, "labs", tmp_path, **EVERY)
    measured = 0
    for stay, cells in list(found.items())[:: 1 if folder.startswith("subset") else 12]:
        moments = {concept.name: lab_moments(stays[stay], concept) for concept in LABS}
        assert (cells is not None) == any(drawn for _, drawn in moments.values())
        if cells is not None:
            measured += 1
            for name, (values, drawn) in moments.items():
                agrees(cells, name, values)
                assert cells[f"{name}/ordered"] == bool(drawn), name
    assert measured > 90


@pytest.mark.parametrize(
    ("modality", "file", "concepts"),
    [
        ("vitals_periodic", "reconstructed_from_yaib/vitalPeriodic.csv.gz", PERIODIC),
        ("vitals_aperiodic", "vitalAperiodic.csv.gz", APERIODIC),
    ],
)
def test_vitals_agree_with_loops(demo, eicu_demo, tmp_path, modality, file, concepts):
    stays = by_stay(eicu_demo / file)
    found = features_of(demo, modality, tmp_path, **EVERY)
    for stay, cells in list(found.items())[::20]:
        for concept in concepts:
            at = defaultdict(list)
            for row in stays[stay]:
                if int(row["observationoffset"]) <= DAY and row[concept.names[0]]:
                    value = in_concept_s_unit(concept, float(row[concept.names[0]]), "")
                    if concept.low <= value <= concept.high:
                        at[int(row["observationoffset"])].append(value)
            moments = {time: sum(values) / len(values) for time, values in at.items()}
            assert cells is not None or not moments
            if cells is not None:
                agrees(cells, concept.name, moments)


def parts(path, separator, depths):
    reported = path.lower().split(separator)
    return {separator.join(reported[:depth]) for depth in (*depths, len(reported))}


def medication(row):
    return {f"hicl/{row['drughiclseqno']}" if row["drughiclseqno"] else row["drugname"].strip().lower()} - {""}


def infusion(row):
    name = row["drugname"].strip().lower()
    return {name[: name.rindex("(")].rstrip() if name.endswith(")") else name} if name else set()


WORDS = {
    "medications": ("medication", "drug", ("drugstartoffset", "drugorderoffset"), medication),
    "infusions": ("infusiondrug", "infusion", ("infusionoffset",), infusion),
    "treatments": (
        "treatment", "treatment", ("treatmentoffset",), lambda row: parts(row["treatmentstring"], "|", (1, 2, 3)),
    ),
    "diagnosis_entries": (
        "diagnosis", "diagnosis", ("diagnosisoffset",), lambda row: parts(row["diagnosisstring"], "|", (1, 2, 3)),
    ),
    "admission_diagnosis": (
        "admissionDx", "admission", ("admitdxenteredoffset",),
        lambda row: {row["admitdxpath"].removeprefix("admission diagnosis|").lower()},
    ),
    "history": (
        "pastHistory", "history", ("pasthistoryoffset", "pasthistoryenteredoffset"),
        lambda row: parts(row["pasthistorypath"].removeprefix("notes/Progress Notes/Past History/"), "/", (3,)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("modality", WORDS)
def test_words_agree_with_loops(demo, eicu_demo, tmp_path, modality):
    file, prefix, offsets, words_of = WORDS[modality]
    stays = by_stay(eicu_demo / f"{file}.csv.gz")
    found = features_of(demo, modality, tmp_path, **EVERY)
    admitted = {
        stay: int(rows[0]["hospitaladmitoffset"]) for stay, rows in by_stay(eicu_demo / "patient.csv.gz").items()
    }
    reported = 0
    for stay, cells in found.items():
        words = set()
        for row in stays[stay]:
            belongs = int(row[offsets[0]]) >= min(admitted[stay], 0) - 7 * DAY
            if belongs and all(not row[offset] or int(row[offset]) <= DAY for offset in offsets):
                words |= words_of(row)
        assert (cells is not None) == bool(words)
        if cells is not None:
            reported += 1
            assert cells[f"{prefix}/distinct"] == len(words)
            marked = {name.removeprefix(f"{prefix}/") for name, value in cells.items() if value == 1.0} - {"distinct"}
            vocabulary = {name.removeprefix(f"{prefix}/") for name in cells} - {"distinct"}
            assert marked == words & vocabulary
    assert reported > 500


@pytest.mark.parametrize(
    ("modality", "table", "names"),
    [("apache_physiology", "apacheApsVar", PHYSIOLOGY), ("apache_conditions", "apachePredVar", CONDITIONS)],
)
def test_apache_agrees_with_loops_and_minus_one_is_missing(demo, eicu_demo, tmp_path, modality, table, names):
    stays = by_stay(eicu_demo / f"{table}.csv.gz")
    missing = 0
    for stay, cells in features_of(demo, modality, tmp_path, **EVERY).items():
        assert (cells is not None) == (stay in stays)
        for name in names if cells else ():
            text = stays[stay][0][name]
            if text in {"", "-1"} or float(text) == -1:
                missing += 1
                assert math.isnan(cells[f"{table}/{name}"])
            else:
                assert cells[f"{table}/{name}"] == pytest.approx(float(text), rel=1e-5)
    assert missing > 500


def test_demographics_agree_with_loops(demo, eicu_demo, tmp_path):
    with gzip.open(eicu_demo / "hospital.csv.gz", "rt") as handle:
        hospitals = {row["hospitalid"]: row for row in csv.DictReader(handle)}
    stays = by_stay(eicu_demo / "patient.csv.gz")
    for stay, cells in features_of(demo, "demographics", tmp_path, **EVERY).items():
        (row,) = stays[stay]
        row |= hospitals[row["hospitalid"]]
        assert cells["age"] == (90 if row["age"] == "> 89" else int(row["age"]))
        for column in (
            "gender",
            "ethnicity",
            "unittype",
            "unitstaytype",
            "unitadmitsource",
            "numbedscategory",
            "region",
        ):
            marked = [name for name, value in cells.items() if name.startswith(f"{column}/") and value == 1]
            assert marked == ([f"{column}/{row[column].strip()}"] if row[column] else []), (column, row[column])
            unknown = [math.isnan(value) for name, value in cells.items() if name.startswith(f"{column}/")]
            assert set(unknown) == {not row[column]}
        height = float(row["admissionheight"] or "nan")
        assert cells["height_cm"] == pytest.approx(height if 100 <= height <= 250 else math.nan, nan_ok=True)
        waited = -int(row["hospitaladmitoffset"]) / 60
        assert cells["hours_in_hospital_before"] == pytest.approx(
            waited if waited >= 0 else math.nan, nan_ok=True, rel=1e-5
        )
        assert cells["teaching"] == (row["teachingstatus"] == "t")
        assert cells["earlier_unit_stays"] == int(row["unitvisitnumber"]) - 1
        assert cells["hours_in_unit"] == 24
