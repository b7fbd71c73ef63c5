"""A DuckDB database of a MIMIC-IV release, and the tables that mimic-code derives in it."""

import gzip
from pathlib import Path
from typing import Any

import polars as pl

from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.errors import UserError
from data_modules.raw.reader import Release

NAMES = {
    "chemistry": {"anion_gap": "aniongap"} | {name: name for name in (
        "albumin", "total_protein", "bicarbonate", "bun", "calcium", "chloride", "creatinine", "sodium", "potassium",
    )},
    "complete_blood_count": {"platelets": "platelet"} | {name: name for name in (
        "hematocrit", "hemoglobin", "mch", "mchc", "mcv", "rbc", "rdw", "wbc",
    )},
    "coagulation": {name: name for name in ("d_dimer", "fibrinogen", "inr", "pt", "ptt")},
    "enzyme": {"ck": "ck_cpk", "ldh": "ld_ldh"} | {name: name for name in (
        "alt", "alp", "ast", "amylase", "bilirubin_total", "bilirubin_direct", "ck_mb",
    )},
    "blood_differential": {name: name for name in (
        "neutrophils", "lymphocytes", "monocytes", "eosinophils", "basophils", "bands",
    )},
    "bg": {"base_excess": "baseexcess", "ionized_calcium": "calcium"} | {name: name for name in (
        "lactate", "ph", "po2", "pco2", "fio2", "glucose",
    )},
    "cardiac_marker": {"troponin_t": "troponin_t", "nt_probnp": "ntprobnp"},
    "inflammation": {"crp": "crp"},
    "vitalsign": {"respiratory_rate": "resp_rate", "glucose_bedside": "glucose"} | {name: name for name in (
        "heart_rate", "sbp", "dbp", "mbp", "temperature", "spo2",
    )},
    "gcs": {"gcs_eye": "gcs_eyes", "gcs_verbal": "gcs_verbal", "gcs_motor": "gcs_motor"},
}  # fmt: skip
"""Table of mimic-code, and its file -> our concept -> its column; glucose is that of bg and of chemistry."""
CHARTED = ("vitalsign", "gcs")
TYPES = {pl.Int64: "BIGINT", pl.Float64: "DOUBLE", pl.Date: "DATE", pl.String: "VARCHAR"}


def connect() -> Any:
    """Open an empty DuckDB database.

    Raises:
        UserError: if duckdb is not installed.
    """
    try:
        import duckdb
    except ModuleNotFoundError as error:
        message = (
            "duckdb is not installed, and mimic-code's concepts need it; pip install 'mmnar-lightning[validation]'"
        )
        raise UserError(message) from error
    return duckdb.connect()


def load(connection: Any, release: Release) -> None:
    """Make a view of each csv file, in the schemas that mimic-code reads."""
    for schema in ("hosp", "icu", "derived"):
        connection.execute(f"CREATE SCHEMA mimiciv_{schema}")
    for name, file in release.files.items():
        table = MIMIC_IV.tables[name]
        schema = table.path.split("/")[0]
        if schema not in {"hosp", "icu"}:
            continue
        with (gzip.open if file.suffix == ".gz" else open)(file, "rt", encoding="utf-8") as handle:
            header = handle.readline().strip().split(",")
        types = {column: TYPES.get(type(table.columns.get(column, pl.String())), "TIMESTAMP") for column in header}
        # Without a declared escape, DuckDB guesses it from the first rows, which may have no quotation mark.
        form = """header = true, auto_detect = false, delim = ',', quote = '"', escape = '"'"""
        source = f"read_csv({quoted(str(file))}, {form}, columns = {types})"
        connection.execute(f"CREATE VIEW mimiciv_{schema}.{table.path.split('/')[1]} AS SELECT * FROM {source}")


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def derive(connection: Any, folder: Path) -> list[str]:
    """Execute the files of mimic-code; returns the names of its tables.

    Raises:
        UserError: naming the file that DuckDB cannot execute, without its message, which may show a cell.
    """
    found = [name for name in NAMES if (folder / f"{name}.sql").is_file()]
    for name in found:
        try:
            connection.execute((folder / f"{name}.sql").read_text(encoding="utf-8"))
        except Exception as error:
            raise UserError(
                f"{folder / name}.sql: DuckDB cannot execute it ({type(error).__name__}); expected the tables of "
                "MIMIC-IV under MIMIC_ROOT, hosp and icu, and the DuckDB concepts of mimic-code"
            ) from error
    return found
