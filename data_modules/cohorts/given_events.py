"""Events of a custom cohort: measurements with a name and a time, summarised as labs are."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from data_modules.cohorts import given
from data_modules.cohorts.columns import ContractError
from data_modules.cohorts.fitting import Fitting
from data_modules.features import codes, series, store
from data_modules.features.concepts import PROBLEMS, USABLE, Concept

EVENTS = "events.parquet"
FIRST = f"/{series.CHARTED[0]}"
"""Ends the name of the first column of an event's name."""
_LARGEST = float(np.finfo(np.float32).max)


def read_events(path: Path, column: str, present: store.BoolArray) -> pl.DataFrame:
    """Read events.

    Args:
        path: of events.parquet.
        column: presence of the modality, for the message.
        present: (N,) bool of the cohort.

    Returns:
        The events of present rows: `row_id` (UInt32), `hours` (Float64, at most 0), `name` (in lower case), `value`
        (Float64, null = done without a usable result).

    Raises:
        ContractError: if a column is missing or has another dtype, a time lies after the prediction, a name is empty, a
            value is infinite, or a present row has no event.
    """
    events = given.read_parquet(path)
    given.row_ids(events, path, len(present))
    given.require_text(events, path, "name")
    given.check_hours(events, path, required=True)
    dtype = events.schema.get("value")
    if dtype is None or not (dtype.is_numeric() or dtype == pl.Boolean):
        raise ContractError(path, "value", 0, f"must exist and be numeric, but is {dtype or 'missing'}")
    own = given.of_present(events, path, column, present, "event")
    value = pl.col("value").cast(pl.Float64).fill_nan(None)
    large = own.filter(value.abs() > _LARGEST).height
    if large:
        raise ContractError(path, "value", large, "has infinite values, or numbers beyond float32; write null instead")
    name = codes.clean("name")
    return own.select(pl.col("row_id").cast(pl.UInt32), pl.col("hours").cast(pl.Float64), name=name, value=value)


def write(events: pl.DataFrame, folder: Path, fitting: Fitting) -> tuple[store.FloatArray, list[str], list[str]]:
    """Write the summaries of the events of each row.

    Args:
        events: of `read_events`.
        folder: of the modality, created.
        fitting: of the modality; a name of too few train subjects has no columns.

    Returns:
        (N, width) values, the names of the columns, and lines for the user.

    Raises:
        ContractError: if no name has columns.
    """
    names = _names(events, fitting)
    given_names = events["name"].unique()
    if not names:
        rule = f"has no name of at least {fitting.words.min_subjects} train subjects (privacy.min_count)"
        raise ContractError(fitting.path, "name", 0, rule)
    lines = fitting.line(
        f"names of {fitting.path.name}", int(given_names.is_in(names).sum()), len(given_names), "left out"
    )
    concepts = concepts_of(names)
    columns = series.column_names(concepts)
    out = store.create(folder, len(fitting.present), columns)
    windows = pl.DataFrame({"row_id": pl.Series(range(len(out)), dtype=pl.UInt32)})
    kept = numbered(events.lazy(), names).collect()
    series.write(kept.lazy(), windows, concepts, out, _of_rows, settle=lambda found: found)
    return out, columns, lines


def _names(events: pl.DataFrame, fitting: Fitting) -> list[str]:
    if fitting.columns is not None:
        return [column.removesuffix(FIRST) for column in fitting.columns if column.endswith(FIRST)]
    return sorted(fitting.fit(events.select(pl.col("row_id").cast(pl.Int64), word="name")))


def concepts_of(names: Sequence[str]) -> list[Concept]:
    """The names of events as concepts, without a unit or a range.

    Args:
        names: of the events.

    Returns:
        One concept per name.

    >>> [(one.name, one.unit) for one in concepts_of(["fev1", "fvc"])]
    [('fev1', ''), ('fvc', '')]
    """
    return [Concept(name=name, unit="", low=-_LARGEST, high=_LARGEST, names=()) for name in names]


def numbered(events: pl.LazyFrame, names: Sequence[str]) -> pl.LazyFrame:
    """Prepare the events of names with columns as input of `series.summarise`.

    Args:
        events: `row_id`, `hours`, `name`, `value` (null = done without a usable result).
        names: that `concept` numbers.

    Returns:
        The events of these names, sorted.

    >>> events = pl.LazyFrame({"row_id": [0, 0], "hours": [-2.0, -1.0], "name": ["fev1", "other"], "value": [2.1, 1.0]})
    >>> numbered(events, ["fev1"]).select("row_id", "concept", "hours", "value", "known").collect().rows()
    [(0, 0, -2.0, 2.1, True)]
    """
    places = pl.LazyFrame({"name": names, "concept": range(len(names))}, {"name": pl.String, "concept": pl.UInt16})
    known = events.join(places, on="name").sort("row_id", "concept", "hours")
    return known.select(
        "row_id",
        "concept",
        "hours",
        "value",
        specimen=pl.lit(None, pl.Int64),
        censored=pl.lit(value=False),
        known=pl.col("value").is_not_null(),
        problem=pl.lit(USABLE).cast(PROBLEMS),
        unit=pl.lit(None, pl.String),
    )


def _of_rows(events: pl.LazyFrame, rows: pl.DataFrame) -> pl.LazyFrame:
    return events.filter(pl.col("row_id").is_between(rows["row_id"].min(), rows["row_id"].max()))
