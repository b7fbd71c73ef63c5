"""Outcomes of MIMIC-IV admissions, as polars expressions and joins."""

import polars as pl


def next_event(index: pl.DataFrame, events: pl.DataFrame, at: str, min_gap_hours: float = 0.0) -> pl.DataFrame:
    """Find the first event of another admission of the subject after the index admission.

    Events of the index admission and events at or before its `dischtime` (a transfer or an overlapping admission) do
    not count, nor do those within the gap.

    Args:
        index: `subject_id`, `hadm_id`, `dischtime`.
        events: `subject_id`, `hadm_id` and the time column.
        at: time column of `events`.
        min_gap_hours: the event must be later than this after `dischtime`.

    Returns:
        `hadm_id` of the index, `other` (hadm_id of the event) and `event_at`, for index admissions with an event.

    >>> from datetime import datetime as day
    >>> index = pl.DataFrame({"subject_id": [7], "hadm_id": [1], "dischtime": [day(2150, 1, 3)]})
    >>> times = [day(2150, 1, 1), day(2150, 3, 1), day(2150, 2, 1)]
    >>> later = pl.DataFrame({"subject_id": [7, 7, 7], "hadm_id": [1, 3, 2], "admittime": times})
    >>> next_event(index, later, "admittime").select("hadm_id", "other").rows()
    [(1, 2)]
    """
    gap = pl.duration(seconds=round(min_gap_hours * 3600))
    others = events.select("subject_id", pl.col("hadm_id").alias("other"), pl.col(at).alias("event_at"))
    return (
        index.select("subject_id", "hadm_id", "dischtime")
        .join(others, on="subject_id")
        .filter((pl.col("other") != pl.col("hadm_id")) & (pl.col("event_at") - pl.col("dischtime") > gap))
        .group_by("hadm_id", maintain_order=True)
        .agg(pl.col("other", "event_at").sort_by("event_at", "other").first())
    )


def within_days(event_at: str, days: int) -> pl.Expr:
    """Return True where 0 < event − dischtime ≤ days; no event is False.

    Durations are compared, because `.dt.total_days() <= 30` would mean less than 31 days.

    >>> from datetime import datetime as day
    >>> left, back = day(2150, 1, 1), [day(2150, 1, 31), day(2150, 1, 31, 1), None]
    >>> frame = pl.DataFrame({"dischtime": [left] * 3, "back": back})
    >>> frame.select(within_days("back", 30)).to_series().to_list()
    [True, False, False]
    """
    gap = pl.col(event_at) - pl.col("dischtime")
    return (gap <= pl.duration(days=days)).fill_null(value=False)
