"""The parts that are compared, for each open demo."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.validation import (
    compare,
    demo_care,
    demo_harmonised,
    eicu,
    eicu_events,
    mimic_iv,
    mimic_iv_arrivals,
    mimic_iv_events,
    mimic_iv_people,
)
from benchmarks.validation.compare import Part
from benchmarks.validation.demo_support import TABLES, Measured, Support
from benchmarks.validation.eicu_events import by_stay
from benchmarks.validation.plain import Act, last_revisions, read, summary
from data_modules.databases.eicu import concepts as eicu_concepts
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.eicu.tables import EICU
from data_modules.databases.harmonised import concepts as harmonised
from data_modules.databases.mimic_iv import concepts as mimic_concepts
from data_modules.databases.mimic_iv import sets
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.mimic_iv.respiration import RESPIRATION
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.databases.registry import database
from data_modules.features.concepts import Concept
from data_modules.raw.reader import Release

Acts = Mapping[str, Sequence[Act]]
LABORATORY = (
    "count", "first", "last", "min", "max", "mean", "slope", "hours_since_last", "censored", "observed", "ordered",
)  # fmt: skip
CHARTED = tuple(part for part in LABORATORY if part not in {"censored", "ordered"})
WRITTEN = {"neurology": (mimic_concepts.GCS_TOTAL, *mimic_concepts.NEUROLOGY[3:])}
"""Part -> concepts of its columns, where they are not those that are read."""


def columns_of(acts: Acts, concepts: Sequence[Concept], parts: Sequence[str]) -> dict[str, float]:
    """The columns of one row, and its presence."""
    table = {"present": float(any(acts.get(concept.name) for concept in concepts))}
    for concept in concepts:
        found = summary(list(acts.get(concept.name, ())))
        table |= {f"{concept.name}/{part}": found[part] for part in parts}
    return table


def mimic(folder: Path, scratch: Path) -> Iterator[Part]:
    """All parts of the MIMIC-IV demo, with its rebuilt chartevents."""
    release = Release.parse(MIMIC_IV, f"{folder}:{folder / 'reconstructed_from_meds'}")
    hospital = mimic_iv.Hospital(folder)
    admissions = {int(row["hadm_id"]): row for rows in hospital.admissions.values() for row in rows}
    tables = [
        ("labs", "labevents", mimic_concepts.LABS, LABORATORY),
        ("vitals", "chartevents", mimic_concepts.VITALS, CHARTED),
        ("special_labs", "labevents", mimic_concepts.SPECIAL_LABS, LABORATORY),
        ("urinalysis", "labevents", mimic_concepts.URINALYSIS, LABORATORY),
        ("neurology", "chartevents", mimic_concepts.NEUROLOGY, CHARTED),
        ("respiration", "chartevents", RESPIRATION, CHARTED),
    ]
    measured = Measured(
        release,
        [one for _, table, of, _ in tables if table == "labevents" for one in of]
        + [*sets.SCORED_LABS, *harmonised.MIMIC_LABORATORY],
        [one for _, table, of, _ in tables if table == "chartevents" for one in of]
        + [*sets.WEIGHT, *sets.SCORED_VITALS, *harmonised.MIMIC_CHARTED],
    )
    events = {
        name: mimic_iv_events.chosen(measured.labs if table == "labevents" else measured.charted, concepts)
        for name, table, concepts, _ in tables
    }
    support = None if release.missing(TABLES) else Support(release, hospital, measured)
    shared = support and demo_harmonised.Mimic(support, measured)
    for landmark in ("icu_24h", "discharge"):
        config = MIMICCohortConfig(index="every", landmark=landmark)
        rows = database("mimic").build_rows(release, config).rows
        keys = [(row["hadm_id"], row["landmark_at"]) for row in rows.iter_rows(named=True)]
        title = f"MIMIC-IV demo, {landmark}"
        for name, table, concepts, parts in tables:
            expected = []
            for hadm_id, at in keys:
                row = admissions[hadm_id]
                mine = events[name].get(row["subject_id"], [])
                acts = mimic_iv_events.acts_of(mine, row, at, concepts, drawn=table == "labevents")
                settled = {concept: last_revisions(found) for concept, found in acts.items()}
                if name == "neurology":
                    settled = mimic_iv_events.with_totals(settled)
                expected.append(columns_of(settled, WRITTEN.get(name, concepts), parts))
            written = compare.write("mimic", release, rows, name, scratch / landmark)
            yield compare.cells(Part(title, name), *written, expected)
        of_rows = [(admissions[key], at) for key, at in keys]
        if support and shared:
            yield from support.parts(title, rows, of_rows, scratch / landmark)
            derived = [shared.rows(*key) for key in of_rows]
            yield from demo_harmonised.compared("mimic", title, release, rows, derived, scratch / landmark)
        if not release.missing(mimic_iv_arrivals.TABLES):
            yield from mimic_iv_arrivals.parts(title, release, rows, of_rows, scratch / landmark)
        expected_labels: Mapping[Any, Any] = (
            mimic_iv.labels_in_the_unit(hospital, "every", in_unit=False)
            if landmark == "icu_24h"
            else mimic_iv.labels_at_discharge(hospital, "every")
        )
        yield _labels(Part(title, "labels"), rows, ["hadm_id", "stay_id"], ["prediction_at"], config, expected_labels)
        people = [mimic_iv_people.demographics(hospital, admissions[key], at) | {"present": 1.0} for key, at in keys]
        written = compare.write("mimic", release, rows, "demographics", scratch / landmark)
        yield compare.cells(Part(title, "demographics"), *written, people)


def _labels(
    part: Part, rows: pl.DataFrame, key: list[str], more: list[str], config: Any, expected: Mapping[Any, Any]
) -> Part:
    names = [*more, *(f"label/{task}" for task in config.tasks)]
    found = {row[: len(key)]: row[len(key) :] for row in rows.select(*key, *names).rows()}
    return compare.labels(part, names, found, expected)


LAB_FOLDERS = ("subset_100_patients", "reconstructed_from_yaib")
"""Where the labs of the eICU demo are: the original rows of 100 patients, and rebuilt ones of all."""


def unit_stays(folder: Path, scratch: Path, sampled: int | None = None) -> Iterator[Part]:
    """All parts of the eICU demo at unit_24h, with its rebuilt lab and vitalPeriodic.

    Args:
        folder: the demo.
        scratch: where files go.
        sampled: compare the cells of so many unit stays only, drawn at random, and the labels of all; None = of all.
    """
    release = Release(EICU, [folder, folder / LAB_FOLDERS[1]])
    patients = read(release.files["patient"])
    stays = {int(row["patientunitstayid"]): row for row in patients}
    config = EICUCohortConfig(index="every", landmark="unit_24h")
    title = "eICU demo, unit_24h"
    every = rows = database("eicu").build_rows(release, config).rows
    if sampled is not None:
        rows = every.sample(sampled, seed=0).sort("row_id").drop("row_id").with_row_index("row_id")
    recorded = demo_care.recorded(release)
    for lab_folder in LAB_FOLDERS:
        own = Release(EICU, [folder, folder / lab_folder])
        part = Part(title, f"labs, {lab_folder}")
        labs = recorded["lab"] if own.files["lab"] == release.files["lab"] else by_stay(read(own.files["lab"]))
        yield _stay_events(part, own, rows, "labs", labs, eicu_concepts.LABS, LABORATORY, _labs, stays, scratch)
    for name, table, concepts in (
        ("vitals_periodic", "vitalPeriodic", eicu_concepts.PERIODIC),
        ("vitals_aperiodic", "vitalAperiodic", eicu_concepts.APERIODIC),
    ):
        part, found = Part(title, name), recorded[table]
        yield _stay_events(part, release, rows, name, found, concepts, CHARTED, eicu_events.vital_acts, stays, scratch)
    yield from demo_care.parts(title, release, rows, stays, recorded, scratch)
    derived = [
        demo_harmonised.stay_rows({name: found.get(stay, []) for name, found in recorded.items()}, stays[stay])
        for stay in rows["stay_id"]
    ]
    yield from demo_harmonised.compared("eicu", title, release, rows, derived, scratch / "harmonised")
    more = ["subject_id", "hospital_id", "prediction_offset_minutes"]
    key = ["admission_id", "stay_id"]
    yield _labels(Part(title, "labels"), every, key, more, config, eicu.labels(patients, "every", "unit_24h"))
    hospitals = {row["hospitalid"]: row for row in read(release.files["hospital"])}
    people = [eicu.demographics(stays[stay], hospitals) | {"present": 1.0} for stay in rows["stay_id"]]
    written = compare.write("eicu", release, rows, "demographics", scratch)
    yield compare.cells(Part(title, "demographics"), *written, people)


def _labs(rows: Sequence[dict[str, str]], concepts: Sequence[Concept], first: int) -> Acts:
    acts = eicu_events.lab_acts(rows, concepts, first)
    return {name: last_revisions(eicu_events.uncontradicted(found)) for name, found in acts.items()}


def _stay_events(
    part: Part,
    release: Release,
    rows: pl.DataFrame,
    name: str,
    recorded: Mapping[int, list[dict[str, str]]],
    concepts: Sequence[Concept],
    parts: Sequence[str],
    acts_of: Callable[[list[dict[str, str]], Sequence[Concept], int], Acts],
    stays: Mapping[int, dict[str, str]],
    scratch: Path,
) -> Part:
    expected = [
        columns_of(acts_of(recorded.get(stay, []), concepts, eicu_events.earliest(stays[stay])), concepts, parts)
        for stay in rows["stay_id"]
    ]
    return compare.cells(part, *compare.write("eicu", release, rows, name, scratch / part.name), expected)


PARTS: Mapping[str, Callable[[Path, Path], Iterator[Part]]] = {"mimic-iv-demo": mimic, "eicu-demo": unit_stays}
"""Folder of a demo -> its parts."""
