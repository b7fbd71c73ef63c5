"""Labs and vitals: repeated measurements of concepts, summarised up to the landmark.

An event is an act: a specimen that was drawn or a value that was charted. Its result may be known at the landmark or
not, and a known result may have no usable value. `ordered` is the act, `observed` a known result, and the summaries
are of the values.
"""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from data_modules.features.concepts import USABLE, Concept
from data_modules.features.lookup import looked_up
from data_modules.features.modality import BuildContext
from data_modules.features.store import BoolArray, FloatArray, blocks

SUMMARIES = ("count", "first", "last", "min", "max", "mean", "slope", "hours_since_last")
"""`slope` is per hour, by least squares; NaN for fewer than two times."""
CHARTED = (*SUMMARIES, "observed")
"""Columns of a charted concept."""
LABORATORY = (*SUMMARIES, "censored", "observed", "ordered")
"""Columns of a lab: `censored` is the share of its values that are limits (`<0.01`)."""
_ZERO = ("count", "censored", "observed", "ordered")
"""Columns that are 0 without an event; the others are NaN."""

LOST = "results without a value"
"""What the manifest calls the number of results without a usable value."""
ROWS_AT_ONCE = 4096
KEY = ("row_id", "concept")


def column_names(concepts: Sequence[Concept], parts: Sequence[str] = CHARTED) -> list[str]:
    """Return the column names: for each concept its parts.

    >>> heart_rate = Concept(name="heart_rate", unit="1/min", low=1, high=299, names=(220045,))
    >>> column_names([heart_rate])[:2], len(column_names([heart_rate, heart_rate]))
    (['heart_rate/count', 'heart_rate/first'], 18)
    """
    return [f"{concept.name}/{part}" for concept in concepts for part in parts]


def within(events: pl.LazyFrame, chosen: slice) -> pl.LazyFrame:
    """Return the events of a slice of concepts, with `concept` relative to its start.

    >>> within(pl.LazyFrame({"concept": [4, 5, 6]}), slice(5, 7)).collect()["concept"].to_list()
    [0, 1]
    """
    kept = events.filter(pl.col("concept").is_between(chosen.start, chosen.stop - 1))
    return kept.with_columns(pl.col("concept") - chosen.start)


def picked(events: pl.LazyFrame, places: Sequence[int]) -> pl.LazyFrame:
    """Return the events of some concepts, with `concept` as the position in the list.

    >>> picked(pl.LazyFrame({"concept": [4, 5, 6]}), [6, 4]).collect()["concept"].to_list()
    [1, 0]
    """
    if list(places) == list(range(places[0], places[0] + len(places))):
        return within(events, slice(places[0], places[0] + len(places)))
    kept = events.filter(pl.col("concept").is_in(list(places)))
    numbers = {place: number for number, place in enumerate(places)}
    return kept.with_columns(looked_up(pl.col("concept"), numbers, events.collect_schema()["concept"]))


def last_revisions(events: pl.DataFrame) -> pl.DataFrame:
    """Keep one event of each source, time and specimen: the last stored with a value, of these the largest value.

    Events without a usable value are superseded by any with a value, and stay where there is none.

    Args:
        events: `row_id`, `concept`, `source`, `hours`, `specimen` (null = none), `known` (True = there is a result),
            `stored` (sortable), `value` (null = none) and any other columns.

    Returns:
        The kept events, sorted by row, concept and time.

    >>> schema = {"row_id": pl.UInt32, "concept": pl.UInt16, "source": pl.UInt8, "hours": pl.Float64,
    ...           "specimen": pl.Int64, "known": pl.Boolean, "stored": pl.Int64, "value": pl.Float64}
    >>> stored = [(True, 1, 9.9), (True, 2, 4.1), (False, 3, None)]
    >>> rows = [(0, 1, 0, -2.0, None, *one) for one in stored]
    >>> last_revisions(pl.DataFrame(rows, schema, orient="row"))["value"].to_list()
    [4.1]
    """
    act = [*KEY, "hours", "specimen", "source"]
    ordered = events.sort(*act, pl.col("value").is_not_null(), "known", "stored", "value")
    return ordered.filter(_runs(*act).is_last_distinct())


def latest(events: pl.DataFrame) -> pl.DataFrame:
    """Select the last value of each concept at any time before the landmark; values at the same time are averaged.

    Args:
        events: input of `series.summarise`.

    Returns:
        `row_id`, `concept`, `value`.

    >>> frame = {"row_id": [0, 0, 0], "concept": [1, 1, 1], "hours": [-9.0, -2.0, -2.0], "value": [60.0, 70.0, 72.0]}
    >>> latest(pl.DataFrame(frame)).rows()
    [(0, 1, 71.0)]
    """
    valued = events.filter(pl.col("value").is_not_null())
    at_last = pl.col("hours") == pl.col("hours").max()
    return valued.group_by("row_id", "concept").agg(pl.col("value").filter(at_last).sort().mean())


def summarise(events: pl.DataFrame) -> pl.DataFrame:
    """Summarise the events of each row and concept.

    Values of one specimen count once, as their maximum; values at the same time are averaged. Events are sorted
    before grouping, so that sums do not depend on the number of threads.

    Args:
        events: `row_id`, `concept`, `hours` (relative to the landmark, at most 0), `value` (null = none), `specimen`
            (null = none), `censored` (True = the value is a limit), `known` (True = there is a result).

    Returns:
        One row per `row_id` and `concept` with the columns of `LABORATORY`; summaries are null without a value.

    >>> frame = pl.DataFrame({"row_id": [0, 0, 0], "concept": [1, 1, 1], "hours": [-2.0, -1.0, 0.0],
    ...                       "value": [4.0, 6.0, None], "specimen": [None, None, None],
    ...                       "censored": [False, True, False], "known": [True, True, False]})
    >>> summarise(frame).select("count", "first", "slope", "hours_since_last", "censored", "ordered").row(0)
    (2, 4.0, 2.0, 1.0, 0.5, 1.0)
    """
    acts = events.group_by(KEY).agg(observed=pl.col("known").any().cast(pl.Float64), ordered=pl.lit(1.0))
    hours, value = pl.col("hours"), pl.col("value")
    ordered = events.filter(value.is_not_null()).sort(*KEY, "hours", "specimen", "value", "censored")
    largest = pl.col("specimen").is_null() | _runs(*KEY, "hours", "specimen").is_last_distinct()
    moments = ordered.filter(largest).group_by(_runs(*KEY, "hours"), maintain_order=True)
    by_time = moments.agg(pl.col(*KEY, "hours").first(), value.mean(), pl.col("censored").mean())
    centred = by_time.with_columns(
        hours_off=hours - hours.mean().over(KEY),
        value_off=value - value.mean().over(KEY),
    )
    summary = centred.group_by(KEY, maintain_order=True).agg(
        pl.len().alias("count"),
        value.first().alias("first"),
        value.last().alias("last"),
        value.min().alias("min"),
        value.max().alias("max"),
        value.mean().alias("mean"),
        (-hours.last()).alias("hours_since_last"),
        pl.col("censored").mean(),
        (pl.col("hours_off") * pl.col("value_off")).alias("products"),
        pl.col("hours_off").pow(2).alias("squares"),
    )
    slope = pl.col("products").list.sum() / pl.col("squares").list.sum()
    several = summary.with_columns(slope=pl.when(pl.col("count") > 1).then(slope).otherwise(float("nan")))
    joined = acts.join(several, on=KEY, how="left").with_columns(pl.col("count", "censored").fill_null(0))
    return joined.select(*KEY, *LABORATORY).sort(KEY)


def _runs(*names: str) -> pl.Expr:
    """Ids of runs of equal rows; grouping by them slices sorted rows and needs no hashing."""
    return pl.struct(names).rle_id().set_sorted().alias("run")


def write(
    events: pl.LazyFrame,
    windows: pl.DataFrame,
    concepts: Sequence[Concept],
    out: FloatArray,
    link: Callable[[pl.LazyFrame, pl.DataFrame], pl.LazyFrame],
    *,
    parts: Sequence[str] = CHARTED,
    settle: Callable[[pl.DataFrame], pl.DataFrame] = last_revisions,
    transform: Callable[[pl.DataFrame], pl.DataFrame] = lambda events: events,
) -> tuple[BoolArray, pl.DataFrame]:
    """Link events to rows and write their summaries, by blocks of rows.

    Args:
        events: scan of a file with the columns that `link` reads.
        windows: one row per unit, sorted by `row_id`, with the columns that `link` reads.
        concepts: the concepts that `concept` numbers.
        out: (N, concepts · parts) float32, overwritten; NaN = no value.
        link: (events, block of `windows`) -> events by the landmark, as input of `settle` and `summarise`, with
            `problem` and `unit`.
        parts: the columns of a concept.
        settle: takes out the events that others supersede.
        transform: applied to the settled events.

    Returns:
        (N,) bool, True = the row has an event; and the results that are limits (`problem` is `USABLE`) or have no
        usable value: `concept`, `problem`, `unit` and their number `results`.
    """
    present = np.zeros(windows.height, dtype=np.bool_)
    special = []
    initial = np.array([0.0 if part in _ZERO else np.nan for part in parts], np.float32)
    for block in blocks(windows.height, ROWS_AT_ONCE):
        part = windows[block]
        linked = settle(link(events, part).collect(engine="streaming"))
        special.append(_special(linked))
        table = np.broadcast_to(initial, (part.height, len(concepts), len(parts))).copy()
        summary = summarise(transform(linked))
        position, concept = summary["row_id"].to_numpy() - block.start, summary["concept"].to_numpy()
        table[position, concept] = summary.select(parts).cast(pl.Float32).fill_null(float("nan")).to_numpy()
        out[block] = table.reshape(part.height, -1)
        present[block][np.unique(position)] = True
    return present, pl.concat(special).group_by("concept", "problem", "unit").agg(pl.col("results").sum())


def _special(linked: pl.DataFrame) -> pl.DataFrame:
    """Count the known results that are limits or have no usable value."""
    found = linked.filter(pl.col("known") & ((pl.col("problem") != USABLE) | pl.col("censored")))
    return found.group_by("concept", "problem", "unit").agg(results=pl.len())


def count(context: BuildContext, table: str, concepts: Sequence[Concept], special: pl.DataFrame) -> None:
    """Record in the manifest the results that are limits, by concept, or without a value, by reason and unit.

    Args:
        context: receives the counts.
        table: name of the table in the manifest.
        concepts: the concepts that `concept` numbers.
        special: counts of `write`.
    """
    limits: dict[str, int] = {}
    lost: dict[str, int] = {}
    for concept, problem, unit, results in special.sort("concept", "problem", "unit").iter_rows():
        name = concepts[concept].name
        if problem == USABLE:
            limits[name] = results
        else:
            lost[" ".join(filter(None, (name, problem, unit)))] = results
    context.record("results that are limits", table, limits)
    context.record(LOST, table, lost)
