"""Links events without hadm_id to admissions, many-to-one by subject and time.

An event belongs to the admission during which it happened. If two admissions overlap, events from the later admittime
on belong to the later one. Hours in the emergency department before admittime belong to the admission that follows,
unless the subject was still an inpatient of the previous one.

The rule does not depend on anything after an event, so a link made at a landmark never changes.
"""

import polars as pl

_SECOND = pl.duration(seconds=1)
EARLY = pl.duration(hours=24)
"""How long before an admission an event with its hadm_id may have happened; an older one has a wrong time."""
REASONS = ("under the admission of another subject", "more than 24 h before the admission")
"""Why an event with the hadm_id of a row is not linked to it."""


def admission_intervals(admissions: pl.LazyFrame) -> pl.LazyFrame:
    """Assign disjoint intervals to the admissions of each subject.

    Args:
        admissions: all admissions: `subject_id`, `hadm_id`, `admittime`, `dischtime` (null = still in hospital),
            `edregtime`.

    Returns:
        `subject_id`, `hadm_id`, `interval_start`, `interval_end`, both inclusive, in whole seconds:

        | hadm_id | edregtime | admittime | dischtime | interval_start | interval_end |
        |---|---|---|---|---|---|
        | 1 | 08:00 | 10:00 | 20:00 | 08:00:00 | 20:00:00 |
        | 2 | 19:00 | 23:00 | null | 20:00:01 | 9999-01-01 |

    >>> from datetime import datetime as day
    >>> first = {"subject_id": 7, "hadm_id": 1, "edregtime": None, "admittime": day(2150, 1, 1, 10),
    ...          "dischtime": day(2150, 1, 1, 20)}
    >>> second = {**first, "hadm_id": 2, "edregtime": day(2150, 1, 1, 19), "admittime": day(2150, 1, 1, 23),
    ...           "dischtime": day(2150, 1, 2)}
    >>> intervals = admission_intervals(pl.LazyFrame([first, second], infer_schema_length=None)).collect()
    >>> [str(start) for start in intervals["interval_start"]]
    ['2150-01-01 10:00:00', '2150-01-01 20:00:01']
    """
    following = pl.col("admittime").shift(-1).over("subject_id") - _SECOND
    end = pl.min_horizontal(pl.col("dischtime"), following)
    forever = pl.datetime(9999, 1, 1, time_unit="us")
    arrival = pl.min_horizontal("edregtime", "admittime")
    return (
        admissions.sort("subject_id", "admittime", "hadm_id")
        .with_columns(interval_end=end.fill_null(forever))
        .with_columns(previous=(pl.col("interval_end").cum_max().shift(1) + _SECOND).over("subject_id"))
        .select(
            "subject_id",
            "hadm_id",
            interval_start=pl.min_horizontal(pl.max_horizontal(arrival, "previous"), "admittime"),
            interval_end="interval_end",
        )
    )


def link(events: pl.LazyFrame, windows: pl.LazyFrame, *, at: str, available: str | None = None) -> pl.LazyFrame:
    """Link events to the rows of a cohort, and drop events not known at the landmark.

    An event with the hadm_id of a row belongs to it if it is of the same subject and not long before the admission;
    `left_out` counts the others.

    Args:
        events: `subject_id`, `hadm_id` (null = unknown), time columns and any other columns.
        windows: one row per unit, with `WINDOW_COLUMNS`.
        at: column with the time of the event; events without it are dropped.
        available: column with the time of entry into the record; null or None = available when it happened.

    Returns:
        The events that happened and were available by the landmark, with `row_id` and `landmark_at`.

    >>> from datetime import datetime as day
    >>> window = {"row_id": 0, "subject_id": 7, "hadm_id": 1, "interval_start": day(2150, 1, 1),
    ...           "interval_end": day(2150, 1, 9), "landmark_at": day(2150, 1, 5)}
    >>> events = [{"subject_id": 7, "hadm_id": 1, "charttime": day(2150, 1, 6)},
    ...           {"subject_id": 7, "hadm_id": 1, "charttime": day(2149, 1, 1)},
    ...           {"subject_id": 7, "hadm_id": None, "charttime": day(2150, 1, 4)}]
    >>> link(pl.LazyFrame(events), pl.LazyFrame([window]), at="charttime").select("row_id", "hadm_id").collect().rows()
    [(0, None)]
    """
    keys = windows.select("row_id", "subject_id", "hadm_id", "interval_start", "landmark_at")
    spans = windows.select("row_id", "subject_id", "interval_start", "interval_end", "landmark_at")
    recorded = (
        events.filter(pl.col("hadm_id").is_not_null())
        .join(keys, on=["subject_id", "hadm_id"])
        .filter(pl.col(at) >= _earliest())
        .drop("interval_start")
    )
    inside = pl.col(at).is_between("interval_start", "interval_end")
    timed = (
        events.filter(pl.col("hadm_id").is_null())
        .join(spans, on="subject_id")
        .filter(inside)
        .drop("interval_start", "interval_end")
    )
    known = pl.col(at) <= pl.col("landmark_at")
    if available is not None:
        known &= pl.col(available).fill_null(pl.col(at)) <= pl.col("landmark_at")
    return pl.concat([recorded, timed], how="diagonal").filter(known)


def _earliest() -> pl.Expr:
    return pl.col("interval_start") - EARLY


def left_out(events: pl.LazyFrame, windows: pl.LazyFrame, *, at: str) -> dict[str, int]:
    """Count the events that carry the hadm_id of a row and are not linked to it.

    Args:
        events: `subject_id`, `hadm_id`, `at`.
        windows: one row per unit, with `WINDOW_COLUMNS`.
        at: column with the time of the event.

    Returns:
        Reason -> number of events.

    >>> from datetime import datetime as day
    >>> window = {"row_id": 0, "subject_id": 7, "hadm_id": 1, "interval_start": day(2150, 1, 1)}
    >>> events = [{"subject_id": 8, "hadm_id": 1, "charttime": day(2150, 1, 2)},
    ...           {"subject_id": 7, "hadm_id": 1, "charttime": day(2149, 1, 1)}]
    >>> left_out(pl.LazyFrame(events), pl.LazyFrame([window]), at="charttime")
    {'under the admission of another subject': 1, 'more than 24 h before the admission': 1}
    """
    owners = windows.select("hadm_id", "interval_start", owner="subject_id")
    recorded = events.select("subject_id", "hadm_id", at).join(owners, on="hadm_id")
    same = pl.col("subject_id") == pl.col("owner")
    counts = recorded.select(
        (~same).sum().alias(REASONS[0]), (same & (pl.col(at) < _earliest())).sum().alias(REASONS[1])
    )
    return counts.collect(engine="streaming").row(0, named=True)


WINDOW_COLUMNS = ("row_id", "subject_id", "hadm_id", "interval_start", "interval_end", "landmark_at")
"""Columns of the rows that `link` reads."""


def windows(rows: pl.DataFrame, landmark_at: pl.Expr | None = None) -> pl.DataFrame:
    """Select the columns of the rows that `link` reads.

    Args:
        rows: one row per unit, with at least `WINDOW_COLUMNS`.
        landmark_at: replaces the landmark of the rows.

    Returns:
        `WINDOW_COLUMNS` of the rows.

    >>> rows = pl.DataFrame({name: [1] for name in (*WINDOW_COLUMNS, "split")})
    >>> windows(rows, pl.col("interval_end") - 1)["landmark_at"].to_list(), "split" in windows(rows).columns
    ([0], False)
    """
    moved = rows if landmark_at is None else rows.with_columns(landmark_at=landmark_at)
    return moved.select(WINDOW_COLUMNS)
