"""Small eICU releases, written as csv with the declared headers from a few rows: nobody in them exists."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from data_modules.databases.eicu import modalities
from data_modules.databases.eicu.cohort import build_rows
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.eicu.tables import EICU
from data_modules.databases.registry import database
from data_modules.features.modality import BuildContext
from data_modules.features.store import create
from data_modules.raw.reader import Release

DAY = 24 * 60
Row = Mapping[str, Any]


def stay(
    stay_id: int, *, person: str = "", admission: int = 0, begins: int = 0, lasts: int = 2 * DAY, **cells: Any
) -> Row:
    """A unit stay.

    Args:
        stay_id: its patientunitstayid.
        person: uniquepid, else one of its own.
        admission: patienthealthsystemstayid, else one of its own.
        begins: minutes since admission to the hospital.
        lasts: minutes.
        cells: others.
    """
    usual = {
        "patientunitstayid": stay_id,
        "patienthealthsystemstayid": admission or 100 + stay_id,
        "uniquepid": person or f"p{stay_id}",
        "hospitalid": 7,
        "age": "60",
        "gender": "Female",
        "hospitaladmitoffset": -begins,
        "hospitaldischargeyear": 2014,
        "hospitaldischargestatus": "Alive",
        "unitvisitnumber": 1,
        "unitstaytype": "admit",
        "unitdischargeoffset": lasts,
        "unitdischargestatus": "Alive",
    }
    return {**usual, **cells}


def hospital(hospital_id: int = 7, **cells: Any) -> Row:
    """A hospital."""
    usual = {"hospitalid": hospital_id, "numbedscategory": "<100", "teachingstatus": "f", "region": "West"}
    return {**usual, **cells}


def write_table(folder: Path, name: str, rows: Iterable[Row], file: str = "") -> Path:
    """Write one table with its declared header; an absent cell is empty."""
    path = folder / (file or f"{name}.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(EICU.tables[name].columns), restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_release(folder: Path, stays: Sequence[Row], **tables: Sequence[Row]) -> Release:
    """Write stays, a hospital and other tables, and open them."""
    for name, rows in {"patient": stays, "hospital": [hospital()], **tables}.items():
        write_table(folder, name, rows)
    return Release(EICU, [folder])


def cohort_rows(release: Release, **settings: Any) -> dict[int, dict[str, Any]]:
    """stay_id -> row of the cohort."""
    built = build_rows(release, EICUCohortConfig(**settings))
    return {row["stay_id"]: row for row in built.rows.iter_rows(named=True)}


def sources_of(
    release: Release, rows: pl.DataFrame, scratch: Path, vocabularies: Mapping[str, Sequence[str]] | None = None
) -> BuildContext:
    """What the writers of features see; of `rows` only ids and the times of prediction."""
    scratch.mkdir(parents=True)
    seen = rows.select("row_id", "subject_id", "stay_id", "prediction_offset_minutes")
    return BuildContext(
        release=release,
        rows=seen,
        tables=modalities.read_tables(release),
        train=seen.select("row_id", "subject_id"),
        scratch=scratch,
        min_vocabulary_subjects=1,
        max_vocabulary=500,
        vocabularies=vocabularies or {},
    )


def table_of(sources: BuildContext, name: str, folder: Path) -> tuple[pl.DataFrame, list[bool]]:
    """The columns of a modality that is one table, by row, and where it is present."""
    block = database("eicu").modalities[name].block(sources)
    values = create(folder, sources.rows.height, block.columns)
    present = block.write(values)
    return pl.DataFrame(values.copy(), schema=block.columns), present.tolist()


def features_of(release: Release, name: str, folder: Path, **settings: Any) -> dict[int, dict[str, float] | None]:
    """stay_id -> what a row gets of a modality, None where it is absent; NaN stays NaN."""
    rows = build_rows(release, EICUCohortConfig(**settings)).rows
    table, present = table_of(sources_of(release, rows, folder / "scratch"), name, folder / name)
    return {
        stay_id: cells if there else None
        for stay_id, cells, there in zip(rows["stay_id"], table.iter_rows(named=True), present, strict=True)
    }
