"""Which admission an event without hadm_id belongs to: by subject and time, many-to-one.

The rule: an event belongs to the admission during which it happened. Where two admissions overlap, the one
that began later takes over from its admittime. Hours in the emergency department before admittime belong to
the admission that they led to, unless the subject was still an inpatient of the one before.

Nothing in the rule depends on what happens after an event, so a link made at a landmark never changes.
"""

import polars as pl

_SECOND = pl.duration(seconds=1)


def admission_intervals(admissions: pl.LazyFrame) -> pl.LazyFrame:
    """Disjoint intervals of every admission of a subject.

    Args:
        admissions: all admissions: `subject_id`, `hadm_id`, `admittime`, `dischtime` (null = still in
            hospital), `edregtime`.

    Returns:
        `subject_id`, `hadm_id`, `interval_start`, `interval_end`, both inclusive, in whole seconds:

        | hadm_id | edregtime | admittime | dischtime | interval_start | interval_end |
        |---|---|---|---|---|---|
        | 1 | 08:00 | 10:00 | 20:00 | 08:00:00 | 20:00:00 |
        | 2 | 19:00 | 23:00 | null | 20:00:01 | the end of time |
    """
    following = pl.col("admittime").shift(-1).over("subject_id") - _SECOND
    end = pl.min_horizontal(pl.col("dischtime"), following)
    forever = pl.datetime(9999, 1, 1, time_unit="us")
    arbaseline = pl.min_horizontal("edregtime", "admittime")
    return (
        admissions.sort("subject_id", "admittime", "hadm_id")
        .with_columns(interval_end=end.fill_null(forever))
        .with_columns(previous=(pl.col("interval_end").cum_max().shift(1) + _SECOND).over("subject_id"))
        .select(
            "subject_id",
            "hadm_id",
            interval_start=pl.min_horizontal(pl.max_horizontal(arbaseline, "previous"), "admittime"),
            interval_end="interval_end",
        )
    )


def link(events: pl.LazyFrame, windows: pl.LazyFrame, *, at: str, available: str | None = None) -> pl.LazyFrame:
    """Give events to the rows of a cohort, and drop what was not known at the landmark.

    Args:
        events: `subject_id`, `hadm_id` (null = unknown), the time columns and whatever else is wanted.
        windows: one row per unit: `row_id`, `subject_id`, `hadm_id`, `interval_start`, `interval_end`,
            `landmark_at`.
        at: column that says when the event happened; events without it are dropped.
        available: column that says when it entered the record; null or None means at once.

    Returns:
        The events with `row_id` and `landmark_at`, happened and available at or before the landmark.
    """
    keys = windows.select("row_id", "hadm_id", "landmark_at")
    spans = windows.select("row_id", "subject_id", "interval_start", "interval_end", "landmark_at")
    recorded = events.filter(pl.col("hadm_id").is_not_null()).join(keys, on="hadm_id")
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


def by_admission(events: pl.LazyFrame, windows: pl.DataFrame) -> pl.LazyFrame:
    """Events of MIMIC-IV that were known at the landmarks of a block of rows.

    Releases are sorted by subject, so a block reads only the row groups of its own subjects.

    Args:
        events: `subject_id`, `hadm_id`, `event_at`, `available_at`, `concept`, `value`, `specimen`.
        windows: see `linking.link`.

    Returns:
        What `summarise` takes.
    """
    subjects = windows["subject_id"]
    near = events.filter(pl.col("subject_id").is_between(subjects.min(), subjects.max()))
    linked = link(near, windows.lazy(), at="event_at", available="available_at")
    hours = (pl.col("event_at") - pl.col("landmark_at")).dt.total_seconds() / 3600
    return linked.select("row_id", "concept", "value", "specimen", hours=hours)


WINDOW_COLUMNS = ("row_id", "subject_id", "hadm_id", "interval_start", "interval_end", "landmark_at")
"""What `link` reads of a cohort's rows."""


def windows(rows: pl.DataFrame, landmark_at: pl.Expr | None = None) -> pl.DataFrame:
    """The rows of a cohort as `link` reads them.

    Args:
        rows: one row per unit, with at least `WINDOW_COLUMNS`.
        landmark_at: another landmark than the rows' own.
    """
    moved = rows if landmark_at is None else rows.with_columns(landmark_at=landmark_at)
    return moved.select(WINDOW_COLUMNS)
