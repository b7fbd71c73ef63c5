"""Tables, rows and modalities."""

import numpy as np
import polars as pl

from data_modules.cohorts.attrition import Rule, apply_rules
from data_modules.cohorts.rows import CohortRows
from data_modules.cohorts.spec import DatabaseSpec
from data_modules.features.modality import BuildContext, ColumnBlock, ModalitySpec
from data_modules.features.store import BoolArray, FloatArray
from data_modules.raw.reader import Release
from data_modules.raw.schema import ReleaseSchema, Table, declare, parse_columns
from tests.helpers.outside_database.config import CohortConfig

PATIENTS = Table(
    name="patients", project="tiny", path="patients", columns=parse_columns("patient:int birth_year:int"), core=True
)
STAYS = Table(
    name="stays",
    project="tiny",
    path="stays",
    columns=parse_columns("stay:int patient:int admitted:datetime died:int"),
    core=True,
)
RESULTS = Table(name="results", project="tiny", path="results", columns=parse_columns("stay:int name:str value:float"))
SCHEMA = ReleaseSchema(
    name="tiny", root_setting=("paths.roots.tiny", "TINY_ROOT"), tables=declare(PATIENTS, STAYS, RESULTS)
)
NAMES = ("lactate", "sodium")


def build_rows(release: Release, config: CohortConfig) -> CohortRows:
    """One row a stay of an adult."""
    patients = release.scan("patients", list(PATIENTS.columns))
    stays = release.scan("stays", list(STAYS.columns)).join(patients, on="patient").collect()
    candidates = stays.with_columns(
        subject_id=pl.col("patient").cast(pl.String), age=pl.col("admitted").dt.year() - pl.col("birth_year")
    )
    kept, attrition = apply_rules(candidates, [Rule(name="adults", keep=pl.col("age") >= config.min_age)], "stays")
    rows = kept.sort("stay").with_row_index("row_id")
    keyed = rows.with_columns(
        subject_key="subject_id",
        admission_id="stay",
        prediction_at="admitted",
        **{f"label/{task}": pl.col("died") == 1 for task in config.tasks},
    )
    return CohortRows(keyed, attrition, {"stays of minors": candidates.height - kept.height})


def _person(context: BuildContext) -> ColumnBlock:
    def write(out: FloatArray) -> BoolArray:
        out[:, 0] = context.rows["age"].to_numpy()
        return np.ones(len(out), dtype=np.bool_)

    return ColumnBlock(["age"], write)


def _results(context: BuildContext) -> ColumnBlock:
    measured = context.release.scan("results", list(RESULTS.columns)).collect()
    wide = measured.pivot("name", index="stay", values="value", aggregate_function="first")
    joined = context.rows.select("stay").join(wide, on="stay", how="left", maintain_order="left").select(NAMES)

    def write(out: FloatArray) -> BoolArray:
        out[:] = joined.to_numpy()
        return np.asarray(np.isfinite(out).any(axis=1))

    return ColumnBlock(list(NAMES), write)


SPEC = DatabaseSpec(
    schema=SCHEMA,
    build_rows=build_rows,
    modalities={
        "person": ModalitySpec(kind="table", block=_person),
        "results": ModalitySpec(kind="table", tables=("results",), block=_results),
    },
)
