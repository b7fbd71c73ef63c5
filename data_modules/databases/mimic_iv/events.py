"""Labs and vitals of MIMIC-IV as columns of a table modality."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from data_modules.databases.mimic_iv.concepts import convert
from data_modules.databases.mimic_iv.linking import by_admission, windows
from data_modules.features import series
from data_modules.features.concepts import Concept
from data_modules.features.modality import BuildContext, ColumnBlock
from data_modules.features.store import BoolArray, FloatArray

EVENT_COLUMNS = ("subject_id", "hadm_id", "itemid", "charttime", "storetime", "valuenum", "valueuom")


def keep(context: BuildContext, table: str, concepts: Sequence[Concept], specimen: str | None, path: Path) -> None:
    """Write the events of some concepts and of the cohort's subjects to a scratch file, in one pass."""
    columns = [*EVENT_COLUMNS, *([specimen] if specimen else [])]
    subjects = context.rows.select("subject_id").unique().lazy()
    events = convert(context.release.scan(table, columns), concepts)
    kept = events.join(subjects, on="subject_id", how="semi").select(
        "subject_id",
        "hadm_id",
        pl.col("charttime").alias("event_at"),
        pl.col("storetime").alias("available_at"),
        "concept",
        pl.col("value").cast(pl.Float32),
        (pl.col(specimen) if specimen else pl.lit(None, pl.Int64)).alias("specimen"),
    )
    kept.sink_parquet(path, compression="lz4")


def summaries(context: BuildContext, table: str, concepts: Sequence[Concept], specimen: str | None) -> ColumnBlock:
    """A block of summaries of the concepts of a table."""
    path = context.scratch / f"{table}.parquet"
    keep(context, table, concepts, specimen, path)

    def write(out: FloatArray) -> BoolArray:
        present = series.write(path, windows(context.rows), len(concepts), out, by_admission)
        path.unlink()
        return present

    return ColumnBlock(series.column_names(concepts), write)
