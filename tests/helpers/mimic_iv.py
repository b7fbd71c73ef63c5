"""Small MIMIC-IV releases, written as csv with the declared headers from a few rows."""

import csv
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from data_modules.databases.mimic_iv.cohort import build_rows
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.databases.registry import database
from data_modules.features.modality import BuildContext
from data_modules.features.store import create
from data_modules.raw.reader import Release
from tests.helpers.mutilation import sources_at

START = datetime(2150, 1, 1)
Row = Mapping[str, Any]
NOT_SIMULATED = ("inputevents", "outputevents", "edstays", "triage", "ed_vitalsign", "ecg_measurements")
"""Tables that the simulator does not write."""


def moment(days: float = 0, *, hours: float = 0, seconds: float = 0) -> datetime:
    """A time after the start of 2150-01-01."""
    return START + timedelta(days=days, hours=hours, seconds=seconds)


def patient(subject_id: int, **cells: Any) -> Row:
    usual = {"gender": "F", "anchor_age": 50, "anchor_year": 2150, "anchor_year_group": "2011 - 2013"}
    return {"subject_id": subject_id, **usual, **cells}


def admission(subject_id: int, hadm_id: int, admittime: datetime, dischtime: datetime | None, **cells: Any) -> Row:
    usual = {"admission_type": "EW EMER.", "discharge_location": "HOME", "hospital_expire_flag": 0}
    times = {"admittime": admittime, "dischtime": dischtime}
    return {"subject_id": subject_id, "hadm_id": hadm_id, **times, **usual, **cells}


def death(subject_id: int, hadm_id: int, admittime: datetime, dischtime: datetime, deathtime: datetime) -> Row:
    cells = {"deathtime": deathtime, "discharge_location": "DIED", "hospital_expire_flag": 1}
    return admission(subject_id, hadm_id, admittime, dischtime, **cells)


def stay(subject_id: int, hadm_id: int, intime: datetime, outtime: datetime | None = None, **cells: Any) -> Row:
    return {
        "subject_id": subject_id,
        "hadm_id": hadm_id,
        "stay_id": 10 * hadm_id,
        "intime": intime,
        "outtime": outtime,
        **cells,
    }


BYSTANDER = {
    "patients": [patient(900)],
    "admissions": [admission(900, 9000, moment(), moment(20))],
    "icustays": [stay(900, 9000, moment(1), moment(10))],
}
"""An unconcerned subject, because a table without any row is refused."""


def write_table(folder: Path, name: str, rows: Iterable[Row]) -> Path:
    """Write one table with its declared header; an absent cell is empty."""
    table = MIMIC_IV.tables[name]
    file = folder / f"{table.path}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(table.columns), restval="")
        writer.writeheader()
        writer.writerows(rows)
    return file


def write_release(folder: Path, **tables: list[Row]) -> Release:
    """Write tables, the core ones together with the bystander, and open them."""
    for name in {**BYSTANDER, **tables}:
        write_table(folder, name, [*tables.get(name, []), *BYSTANDER.get(name, [])])
    return Release(MIMIC_IV, [folder])


def cohort_rows(release: Release, **settings: Any) -> dict[int, dict[str, Any]]:
    """hadm_id -> row of the cohort, the bystander left out."""
    built = build_rows(release, MIMICCohortConfig(**settings))
    return {row["hadm_id"]: row for row in built.rows.iter_rows(named=True) if row["hadm_id"] != 9000}


def context_of(release: Release, folder: Path, **settings: Any) -> BuildContext:
    """What the writers of features see of a cohort; its scratch files are in a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = build_rows(release, MIMICCohortConfig(**settings)).rows
    return sources_at(release, rows, folder / "scratch", {})


def features_of(context: BuildContext, name: str, folder: Path) -> dict[int, dict[str, float] | None]:
    """hadm_id -> what a row gets of a modality that is one table, None where it is absent; NaN stays NaN."""
    block = database("mimic").modalities[name].block(context)
    values = create(folder / name, context.rows.height, block.columns)
    present = block.write(values)
    rows = zip(context.rows["hadm_id"], values.tolist(), present.tolist(), strict=True)
    return {hadm: dict(zip(block.columns, cells, strict=True)) if there else None for hadm, cells, there in rows}


def cells_in_the_unit(
    folder: Path, modality: str, *, intime: datetime = START + timedelta(days=1), **tables: list[Row]
) -> dict[str, float] | None:
    """What the admission of subject 1 gets 24 h after the intime of its stay; None where the modality is absent."""
    release = write_release(
        folder / "raw",
        **{
            "patients": [patient(1)],
            "admissions": [admission(1, 1, moment(0), moment(9))],
            "icustays": [stay(1, 1, intime, moment(8))],
            **tables,
        },
    )
    context = context_of(release, folder, landmark="icu_24h", index="every")
    return features_of(context, modality, folder)[1]
