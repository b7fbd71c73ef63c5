"""Compare labs and vitals with the DuckDB concepts of mimic-code: count and mean of each row and concept.

`MIMIC_CODE=DIR MIMIC_ROOT=/path python -m benchmarks.validation.mimic_code`, where DIR is a checkout of
MIT-LCP/mimic-code. Its files are executed from there; none is part of this repository. Only counts are printed.
"""

import math
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from benchmarks.validation import compare, reasons
from benchmarks.validation.compare import Part
from benchmarks.validation.duck import CHARTED, NAMES, connect, derive, load, quoted
from benchmarks.validation.mimic_iv_events import parsed
from benchmarks.validation.reasons import Cell
from data_modules.databases.mimic_iv.concepts import LABS, VITALS
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.mimic_iv.linking import WINDOW_COLUMNS
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.databases.registry import database
from data_modules.errors import UserError
from data_modules.features.concepts import Concept
from data_modules.raw.reader import Release

MEASUREMENT = "mimic-iv/concepts_duckdb/measurement"
EXAMINED = 500
"""Cells of a table whose reason is looked for; the others are counted as not examined."""


class Settings(NamedTuple):
    """The release and the folder of mimic-code's measurements."""

    release: Release
    folder: Path


def settings(environment: Mapping[str, str]) -> Settings:
    """Read MIMIC_CODE and MIMIC_ROOT.

    Raises:
        UserError: if one of them is not set, or the checkout has no concepts.
    """
    given = environment.get("MIMIC_CODE", "")
    if not given:
        raise UserError("MIMIC_CODE is not set; set it to the folder of a checkout of MIT-LCP/mimic-code")
    folder = Path(given).expanduser() / MEASUREMENT
    if not any((folder / f"{name}.sql").is_file() for name in NAMES):
        raise UserError(
            f"MIMIC_CODE: {folder} has none of the files {', '.join(NAMES)}; expected a checkout of MIT-LCP/mimic-code"
        )
    return Settings(Release.parse(MIMIC_IV, environment.get("MIMIC_ROOT", "")), folder)


def theirs(connection: Any, table: str, concept: Concept, windows: Path, found: Sequence[str]) -> dict[int, Cell]:
    """Row -> number of times and mean of a concept in the tables of mimic-code, in the admission and by the landmark.

    Specimens without hadm_id are linked by time, as ours are. Of gcs only the times at which the component was charted
    count, because it carries values forward for 6 h, and not 0, which stands for an intubated subject.
    """
    sources = [(table, NAMES[table][concept.name])]
    if concept.name == "glucose" and "chemistry" in found:
        sources.append(("chemistry", "glucose"))
    selects = [_times(name, column, concept) for name, column in sources]
    query = f"""
        WITH times AS ({" UNION ALL ".join(selects)}),
        linked AS (
            SELECT row_id, charttime, avg(value) AS value
            FROM times JOIN read_parquet({quoted(str(windows))}) AS rows USING (subject_id)
            WHERE charttime <= landmark_at AND (
                (times.hadm_id = rows.hadm_id AND charttime >= interval_start - INTERVAL 24 HOUR)
                OR (times.hadm_id IS NULL AND charttime BETWEEN interval_start AND interval_end)
            )
            GROUP BY row_id, charttime
        )
        SELECT row_id, count(*), avg(value) FROM linked GROUP BY row_id"""
    return {row: (count, mean) for row, count, mean in connection.execute(query).fetchall()}


def _times(table: str, column: str, concept: Concept) -> str:
    if table not in CHARTED:
        source, hadm_id = f"mimiciv_derived.{table} AS t", "t.hadm_id"
    else:
        source, hadm_id = f"mimiciv_derived.{table} AS t JOIN mimiciv_icu.icustays AS s USING (stay_id)", "s.hadm_id"
    query = f"SELECT t.subject_id, {hadm_id} AS hadm_id, t.charttime, t.{column} AS value FROM {source}"
    query += f" WHERE t.{column} IS NOT NULL"
    if table == "gcs":
        charted = f"SELECT stay_id, charttime FROM mimiciv_icu.chartevents WHERE itemid = {concept.names[0]}"
        query += f" AND t.{column} > 0 AND (t.stay_id, t.charttime) IN ({charted})"
    return query


def ours(columns: Sequence[str], values: Any, concept: Concept) -> list[Cell]:
    """Count and mean of a concept in each row."""
    counts, means = (values[:, columns.index(f"{concept.name}/{part}")] for part in ("count", "mean"))
    return [(int(count), float(mean)) for count, mean in zip(counts, means, strict=True)]


def events(
    connection: Any, table: str, items: Iterable[int], subjects: Iterable[str]
) -> dict[str, list[dict[str, Any]]]:
    """Subject -> its rows of labevents or chartevents with some items, as text."""
    chosen = ", ".join(map(str, items)), ", ".join(map(str, subjects))
    query = f"SELECT COLUMNS(*)::VARCHAR FROM {table} WHERE itemid IN ({chosen[0]}) AND subject_id IN ({chosen[1]})"
    cursor = connection.execute(query)
    names = [column[0] for column in cursor.description]
    return parsed(
        dict(zip(names, ["" if cell is None else cell for cell in row], strict=True)) for row in cursor.fetchall()
    )


class Wrong(NamedTuple):
    """A row and concept that disagree.

    Attributes:
        row: row_id.
        concept: the concept.
        theirs: its count and mean in the tables of mimic-code.
        cells: cells that disagree, 1 or 2.
    """

    row: int
    concept: Concept
    theirs: Cell
    cells: int


def compared(
    connection: Any, part: Part, rows: pl.DataFrame, written: tuple[list[str], Any], windows: Path, found: Sequence[str]
) -> Part:
    """Compare the concepts of the table that names a part.

    Args:
        connection: the database, with the tables of mimic-code.
        part: to fill.
        rows: rows of the cohort.
        written: columns and values of our modality.
        windows: parquet file with `WINDOW_COLUMNS` of the rows.
        found: tables of mimic-code.
    """
    table = part.name
    concepts = {concept.name: concept for concept in (VITALS if table in CHARTED else LABS)}
    known = {name for name, *_ in connection.execute(f"DESCRIBE mimiciv_derived.{table}").fetchall()}
    part.rows, wrong = rows.height, []
    for name, column in NAMES[table].items():
        part.cells += 2 * rows.height
        if column not in known:
            part.reasons[reasons.NO_COLUMN] += 2 * rows.height
            continue
        counted = theirs(connection, table, concepts[name], windows, found)
        for row, mine in enumerate(ours(*written, concepts[name])):
            other = counted.get(row, (0, math.nan))
            part.filled += 2 * bool(mine[0] or other[0])
            agreed = reasons.same(concepts[name], mine, other)
            if not all(agreed):
                wrong.append(Wrong(row, concepts[name], other, 2 - sum(agreed)))
    if wrong:
        _explain(connection, part, rows, wrong)
    return part


def _explain(connection: Any, part: Part, rows: pl.DataFrame, wrong: Sequence[Wrong]) -> None:
    examined, charted = wrong[:EXAMINED], part.name in CHARTED
    chosen = rows[sorted({one.row for one in examined})].iter_rows(named=True)
    admissions = {
        row["row_id"]: {
            "subject_id": str(row["subject_id"]),
            "hadm_id": str(row["hadm_id"]),
            "start": row["interval_start"],
            "end": row["interval_end"],
            "landmark_at": row["landmark_at"],
        }
        for row in chosen
    }
    items = {int(item) for one in examined for item in one.concept.names} | {int(reasons.PO2)}
    source = "mimiciv_icu.chartevents" if charted else "mimiciv_hosp.labevents"
    recorded = events(connection, source, items, {row["subject_id"] for row in admissions.values()})
    for row, concept, other, cells in examined:
        mine = recorded.get(admissions[row]["subject_id"], [])
        part.reasons[reasons.reason(mine, admissions[row], concept, other, drawn=not charted)] += cells
    rest = sum(one.cells for one in wrong[EXAMINED:])
    if rest:
        part.reasons["not examined"] = rest


def parts(given: Settings, scratch: Path) -> Iterator[Part]:
    """All tables at both landmarks."""
    connection = connect()
    load(connection, given.release)
    found = derive(connection, given.folder)
    for landmark in ("icu_24h", "discharge"):
        rows = database("mimic").build_rows(given.release, MIMICCohortConfig(index="every", landmark=landmark)).rows
        windows = scratch / f"{landmark}.parquet"
        rows.select(WINDOW_COLUMNS).write_parquet(windows)
        written: dict[str, tuple[list[str], Any]] = {}
        for table in found:
            modality = "vitals" if table in CHARTED else "labs"
            if modality not in written:
                written[modality] = compare.write("mimic", given.release, rows, modality, scratch / landmark)
            yield compared(connection, Part(landmark, table), rows, written[modality], windows, found)


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Execute, compare, print; returns the exit status."""
    try:
        given = settings(environment)
        with tempfile.TemporaryDirectory(prefix="mmnar-validation-") as scratch:
            compare.report(list(parts(given, Path(scratch))))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
