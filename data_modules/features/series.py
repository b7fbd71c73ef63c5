"""Labs and vitals: repeated measurements of concepts, summarised up to the landmark."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from data_modules.features.concepts import Concept
from data_modules.features.store import BoolArray, FloatArray, blocks

SUMMARIES = ("count", "first", "last", "min", "max", "mean", "slope", "hours_since_last")
"""`slope` is per hour, by least squares; NaN for fewer than two times."""

ROWS_AT_ONCE = 4096


def column_names(concepts: Sequence[Concept]) -> list[str]:
    """Return the column names: for each concept its summaries, then `observed`.

    >>> heart_rate = Concept(name="heart_rate", unit="1/min", low=1, high=299, items=())
    >>> column_names([heart_rate])[:2], len(column_names([heart_rate, heart_rate]))
    (['heart_rate/count', 'heart_rate/first'], 18)
    """
    return [f"{concept.name}/{part}" for concept in concepts for part in (*SUMMARIES, "observed")]


def summarise(events: pl.DataFrame) -> pl.DataFrame:
    """Summarise the measurements of each row and concept.

    Repeats within a specimen count once, as their maximum; values at the same time are averaged. Events are sorted
    before grouping, so that sums do not depend on the number of threads.

    Args:
        events: `row_id`, `concept`, `hours` (relative to the landmark, at most 0), `value`, `specimen` (null = none).

    Returns:
        One row per `row_id` and `concept` with the columns of `SUMMARIES`.

    >>> frame = pl.DataFrame({"row_id": [0, 0], "concept": [1, 1], "hours": [-2.0, -1.0],
    ...                       "value": [4.0, 6.0], "specimen": [None, None]})
    >>> summarise(frame).select("count", "first", "slope", "hours_since_last").row(0)
    (2, 4.0, 2.0, 1.0)
    """
    key = ["row_id", "concept"]
    hours, value = pl.col("hours"), pl.col("value")
    ordered = events.sort(*key, "hours", "specimen", "value")
    largest = pl.col("specimen").is_null() | _runs(*key, "hours", "specimen").is_last_distinct()
    moments = ordered.filter(largest).group_by(_runs(*key, "hours"), maintain_order=True)
    by_time = moments.agg(pl.col(*key, "hours").first(), value.mean())
    centred = by_time.with_columns(
        hours_off=hours - hours.mean().over(key),
        value_off=value - value.mean().over(key),
    )
    summary = centred.group_by(key, maintain_order=True).agg(
        pl.len().alias("count"),
        value.first().alias("first"),
        value.last().alias("last"),
        value.min().alias("min"),
        value.max().alias("max"),
        value.mean().alias("mean"),
        (-hours.last()).alias("hours_since_last"),
        (pl.col("hours_off") * pl.col("value_off")).alias("products"),
        pl.col("hours_off").pow(2).alias("squares"),
    )
    slope = pl.col("products").list.sum() / pl.col("squares").list.sum()
    return summary.select(
        *key,
        *SUMMARIES[:6],
        pl.when(pl.col("count") > 1).then(slope).otherwise(float("nan")).alias("slope"),
        "hours_since_last",
    )


def _runs(*names: str) -> pl.Expr:
    """Ids of runs of equal rows; grouping by them slices sorted rows and needs no hashing."""
    return pl.struct(names).rle_id().set_sorted().alias("run")


def write(
    events: Path,
    windows: pl.DataFrame,
    num_concepts: int,
    out: FloatArray,
    known: Callable[[pl.LazyFrame, pl.DataFrame], pl.LazyFrame],
) -> BoolArray:
    """Link events to rows and write their summaries, by blocks of rows.

    Args:
        events: parquet file with the columns that `known` reads.
        windows: one row per unit, sorted by `row_id`, with the columns that `known` reads.
        num_concepts: number of concepts.
        out: (N, num_concepts · 9) float32, overwritten; NaN = not measured.
        known: (events, block of `windows`) -> events known at the landmarks, as input of `summarise`.

    Returns:
        (N,) bool, True = the row has a measurement.
    """
    present = np.zeros(windows.height, dtype=np.bool_)
    scanned = pl.scan_parquet(events)
    for block in blocks(windows.height, ROWS_AT_ONCE):
        part = windows[block]
        measured = known(scanned, part).collect(engine="streaming")
        table = np.full((part.height, num_concepts, len(SUMMARIES) + 1), np.nan, dtype=np.float32)
        table[:, :, 0] = table[:, :, -1] = 0.0
        summary = summarise(measured)
        position = summary["row_id"].to_numpy() - block.start
        concept = summary["concept"].to_numpy()
        table[position, concept, : len(SUMMARIES)] = summary.select(SUMMARIES).cast(pl.Float32).to_numpy()
        table[position, concept, -1] = 1.0
        out[block] = table.reshape(part.height, -1)
        present[block][np.unique(position)] = True
    return present
